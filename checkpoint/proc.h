/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc tells about a container: its mounts and its tasks.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROC_TASKS_MAX 65536

struct proc_mount {
	int id, parent_id;
	char device[24]; /* "major:minor" */
	char *root, *mountpoint, *fstype, *source, *super_options;
	bool is_writable;
	bool is_shared; /* mounts below it spread to or from other places */
};

struct proc_mounts {
	struct proc_mount *items;
	size_t count;
};

/* Mounts as process pid sees them (0: we). */
int proc_mounts_read(struct proc_mounts *self, pid_t pid, struct error *err);
/* From text in the form of mountinfo; lines it does not understand are -EPROTO. Changes text. */
int proc_mounts_parse(struct proc_mounts *self, char *text, struct error *err);
void proc_mounts_deinit(struct proc_mounts *self);

struct proc_task {
	pid_t pid;         /* ours */
	pid_t virtual_pid; /* in the container's pid namespace: CRIU's image id */
};

struct proc_tasks {
	struct proc_task *items;
	size_t count;
};

/* init and all its descendants (processes, not threads). */
int proc_tasks_read(struct proc_tasks *self, pid_t init, struct error *err);
void proc_tasks_deinit(struct proc_tasks *self);
/* init is pid 1 of a namespace of its own. -EBUSY names a process that lives there without descending from it (an exec
 * session): it could not be moved. The tasks may run meanwhile. */
int proc_refuse_strangers(pid_t init, struct error *err);

/* 0: the task is gone. */
pid_t proc_virtual_pid(pid_t pid, int depth);
int proc_namespace_depth(pid_t pid);
/* The name of the program; "?" when it is gone. */
void proc_name(pid_t pid, char *ret_name, size_t size);
/* Resident memory that a migration has to move, in bytes. */
unsigned long long proc_memory(const struct proc_tasks *tasks);
/* What the task with most of it has of hugetlb, in bytes. */
unsigned long long proc_hugetlb(const struct proc_tasks *tasks);
