/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting another program with exactly the descriptors it is given.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CHILD_FDS_MAX 32

struct child_fd {
	int fd;     /* ours */
	int number; /* the child's; 0, 1, 2 that are not named are /dev/null */
};

struct child_spec {
	const char *path;         /* executable, no search */
	const char *const *argv;  /* ends with NULL */
	const char *const *envp;  /* NULL: ours */
	const char *cwd;          /* NULL: ours */
	struct child_fd fds[CHILD_FDS_MAX];
	size_t fd_count;
	int death_signal;         /* PR_SET_PDEATHSIG, 0: none */
	bool new_session;
	int net_namespace_fd;     /* joined before exec; 0 or less: none (0 is never a namespace) */
	int pid_namespace_fd;     /* same */
	const char *const *cgroup_dirs; /* cgroup folders the child moves into before exec; NULL-terminated or NULL */
};

/* Starts it; *ret_pid and *ret_pidfd (may be NULL). All signals are unblocked and at their defaults in the child.
 * exec failure is reported here, by name, not by an exit status. */
int child_start(const struct child_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct error *err);

/* Runs it to its end. *ret_output (the caller frees) is what it wrote to its descriptor number, at most limit bytes (-EFBIG beyond). */
int child_output(const struct child_spec *spec, int number, size_t limit, char **ret_output, int *ret_status, struct error *err);

/* Waits for pid. Returns the exit status 0..255, or 128 + signal. */
int child_wait(pid_t pid, int *ret_status, struct error *err);

/* The path of the program beside ours with this name (build and install put all programs in known places),
 * or the one the environment variable HYDRA_<NAME> names. The caller frees. */
char *child_program(const char *name);
