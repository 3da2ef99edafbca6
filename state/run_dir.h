/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run directory of a container, <root>/<namespace>/<id>/: everything that must outlive a process.
 *
 *   record      ContainerRecord, replaced atomically          (state/record.h)
 *   exit        ExitRecord of init; exit.EXEC of an exec       (state/exit_record.h)
 *   journal     events with sequence numbers                  (state/journal.h)
 *   lock        held by hydra-setup while it creates or removes
 *   shim.lock   held by the shim for its life
 *   migration.lock  held by who moves the container to another host: hydra-setup and its worker
 *   shim.sock   hydra.v1.Shim
 *   shim.log    what the shim complains about
 *   netns       the pinned network namespace
 *   oci/        state of the OCI runtime
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define RUN_ROOT_DEFAULT  "/run/hydra"
#define DATA_ROOT_DEFAULT "/var/lib/hydra"
#define NAMESPACE_DEFAULT "default"
#define ID_SIZE_MAX       76

struct run_dir {
	int fd;
	char *path;
	char *id;        /* points into path */
	int lock_fd;     /* FD_NONE: not ours */
};

#define RUN_DIR_CLOSED ((struct run_dir){.fd = -1, .lock_fd = -1})

/* HYDRA_ROOT, else /run/hydra. HYDRA_DATA, else /var/lib/hydra. */
const char *run_root(void);
const char *data_root(void);

/* 1..76 of [A-Za-z0-9_.+-], beginning with a letter or digit. err names the id and what is allowed. */
int id_check(const char *what, const char *id, struct error *err);

/* Opens an existing one; -ENOENT: no such container. */
int run_dir_open(struct run_dir *ret_self, const char *root, const char *namespace, const char *id, struct error *err);
/* Makes it and takes LOCK_SETUP; -EEXIST: the name is in use, nothing was changed. */
int run_dir_create(struct run_dir *ret_self, const char *root, const char *namespace, const char *id, struct error *err);
/* Accepts a closed one; gives the lock back. */
void run_dir_close(struct run_dir *self);
/* Removes the directory with all it holds and closes it. What is mounted in it must be unmounted before. */
int run_dir_remove(struct run_dir *self, struct error *err);

enum {
	RUN_DIR_LOCKED_BY_OTHER = 1,
};
#define LOCK_SETUP "lock"
#define LOCK_SHIM  "shim.lock"
#define LOCK_MIGRATION "migration.lock"

/* Takes one of the locks without waiting. 0, RUN_DIR_LOCKED_BY_OTHER, or -errno. Given back by run_dir_close(). */
int run_dir_lock(struct run_dir *self, const char *name, struct error *err);
/* Waits for it. */
int run_dir_lock_wait(struct run_dir *self, const char *name, struct error *err);
/* True when some process holds it. */
bool run_dir_is_locked(const struct run_dir *self, const char *name);

/* Calls visit for each namespace; stops when it gives false. */
int run_dir_visit_namespaces(const char *root, bool (*visit)(const char *namespace, void *context), void *context, struct error *err);
/* Calls visit for each container of each namespace (or of one, if namespace is not NULL); stops when it gives false. */
int run_dir_visit(const char *root, const char *namespace, bool (*visit)(const char *namespace, const char *id, void *context),
		  void *context, struct error *err);

/* <path>/<name>, the caller's to free. */
char *run_dir_path(const struct run_dir *self, const char *name);
