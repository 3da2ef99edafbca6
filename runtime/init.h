/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's first process, from its birth to exec. It runs our code in the container's namespaces, so it
 * trusts nothing it finds there; every failure is sent to the command, never printed.
 */
#pragma once

#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/namespaces.h"
#include "runtime/seccomp_filter.h"
#include "runtime/sources.h"
#include "runtime/spec.h"

#include <stdbool.h>

struct init_context {
	const struct spec *spec;
	const struct namespace_plan *namespaces;
	const struct cgroup *cgroup;
	const char *bundle;
	const char *rootfs;
	const char *keyring; /* NULL: keep ours */
	struct container_state *state;
	struct sources *sources;
	struct seccomp_filter filter;
	int sync_fd;
	int console_fd; /* socket that gets the terminal, or FD_NONE */
	int start_fd;   /* pipe that says start, or FD_NONE: COMMIT does */
	int reply_fd;   /* pipe for complaints after COMMIT, or FD_NONE: sync_fd */
	int preserved_fds;
	int listen_fds;
	bool without_pivot;
};

/* The parent's death would otherwise leave it half-made. Called first in every process that is spawned. */
void init_die_with_parent(int sync_fd);
/* Every signal unblocked and at its default. */
void init_reset_signals(void);
_Noreturn void init_run(struct init_context *self);
