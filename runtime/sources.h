/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones of the mounts that the container is made of: its root, and the sources of bind mounts.
 *
 * What only the host's root may reach is opened by the command, before init loses that right to its user namespace. A
 * command without the right to clone mounts leaves it to init, which has it in there and is still the same user.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>

struct sources {
	const struct spec *spec;
	const char *bundle;
	const char *rootfs;
	bool has_user_namespace;
	bool without_pivot;
	int folder_fd;    /* of the container's state */
	int root_tree_fd; /* FD_NONE: not needed */
	int *fds;         /* by the index of the mount; FD_NONE: not needed */
	size_t count;
	int *device_fds;  /* of devices_open_nodes() */
	bool is_left_to_init;
};

/* In the command. All bind sources and the rootfs for a user namespace, and mounts with mapped ids always. */
int sources_open(struct sources *self, struct error *err);
/* In init, before it becomes root of its user namespace: what was left to it. */
int sources_open_inside(struct sources *self, struct error *err);
void sources_close(struct sources *self);

/* Tries the mounts with mapped ids out, for not every file system can; leaves nothing. */
int sources_check(const struct spec *spec, const char *bundle, struct error *err);
