/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What inotify watches in a container's root. CRIU finds it by a handle, which overlay file systems mostly don't give; then it has
 * to be told where to look.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define WATCHES_MAX 64

struct watches {
	char *paths[WATCHES_MAX]; /* in the container */
	size_t count;
};

/* Of init and its descendants. What is not found is CRIU's to complain of. Takes as long as a walk through the root when there are
 * any, and next to nothing when there are none. */
void watches_find(struct watches *self, pid_t init);
void watches_deinit(struct watches *self);
