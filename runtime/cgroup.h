/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's cgroup in every hierarchy of the host: cgroup v1, v2, or both side by side ("hybrid").
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <stddef.h>

#define CGROUP_ROOT            "/sys/fs/cgroup"
#define CGROUP_HIERARCHIES_MAX 15
#define CGROUP_PATH_SIZE       512

struct cgroup_hierarchy {
	char name[64];  /* "memory", "cpu,cpuacct", "name=systemd"; "" for cgroup v2 */
	char mount[96]; /* "/sys/fs/cgroup/memory" */
	char dir[CGROUP_PATH_SIZE + 100];
};

struct cgroup {
	struct cgroup_hierarchy items[CGROUP_HIERARCHIES_MAX];
	size_t count;                /* 0: the container stays in our cgroup */
	bool is_unified;             /* cgroup v2 only: limits go there */
	char path[CGROUP_PATH_SIZE]; /* below each mount, "/hydra/web" */
};

/* From linux.cgroupsPath: absolute as it is, otherwise below /hydra; NULL or "": /hydra/ID. */
int cgroup_path(const char *wanted, const char *id, char ret_path[static CGROUP_PATH_SIZE], struct error *err);
/* Finds the hierarchies; path "" means: no cgroup of its own. */
int cgroup_init(struct cgroup *self, const char *path, struct error *err);

/* cgroup v2: made before the container's init, so that it is born inside. Sets the limits when the host has only v2. */
int cgroup_make_unified(const struct cgroup *self, const struct spec_resources *resources, int *ret_fd,
			struct error *err);
/* cgroup v1: makes the others and sets the limits. */
int cgroup_make_legacy(const struct cgroup *self, const struct spec_resources *resources, struct error *err);
/* Opens the files that cgroup_join() writes to. *ret_count of at most CGROUP_HIERARCHIES_MAX; FD_NONE-free. */
int cgroup_open_tasks(const struct cgroup *self, int *ret_fds, size_t *ret_count, struct error *err);
/* Moves the calling process, which must have one thread, into the cgroups. */
int cgroup_join(const int *task_fds, size_t count, struct error *err);

/* Changes the limits of an existing cgroup. */
int cgroup_set_limits(const struct cgroup *self, const struct spec_resources *resources, struct error *err);

/* Refuses one that is there already and has processes or is frozen: what became of these would be the container's, too. */
int cgroup_check_vacant(const struct cgroup *self, struct error *err);

/* Kills everything inside; does not wait. */
int cgroup_kill(const struct cgroup *self, struct error *err);
int cgroup_signal(const struct cgroup *self, int signal_number, struct error *err);
/* Of a list: those that are gone are left out. */
int cgroup_signal_each(const pid_t *pids, size_t count, int signal_number, struct error *err);
/* Removes the cgroups and those the container made below; waits a bounded time for the kernel to let go. */
int cgroup_remove(const struct cgroup *self, struct error *err);

int cgroup_freeze(const struct cgroup *self, bool is_frozen, struct error *err);
bool cgroup_is_frozen(const struct cgroup *self);

/* All processes inside, also in cgroups below; *ret_pids is the caller's to free. */
int cgroup_processes(const struct cgroup *self, pid_t **ret_pids, size_t *ret_count, struct error *err);

/* The hierarchy that has this controller ("" for cgroup v2), or NULL. */
const struct cgroup_hierarchy *cgroup_find(const struct cgroup *self, const char *controller);
