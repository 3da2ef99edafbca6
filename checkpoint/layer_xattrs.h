/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extended attributes of an entry, but for those that overlay keeps for itself and that mean something only where they are.
 */
#pragma once

#include "base/error.h"
#include "handoff.pb-c.h"

#include <stddef.h>

#define LAYER_XATTRS_BYTES 65536U /* the kernel's own limit, of all names and of each value */
#define LAYER_XATTRS_MAX   256U

struct layer_xattrs {
	Hydra__V1__LayerXattr items[LAYER_XATTRS_MAX];
	Hydra__V1__LayerXattr *list[LAYER_XATTRS_MAX]; /* sorted by name */
	size_t count;
	char names[LAYER_XATTRS_BYTES];
};

/* A zeroed one. proc_path: "/proc/self/fd/N/..."; path is for messages. What is gone meanwhile has none. */
int layer_xattrs_read(struct layer_xattrs *self, const char *proc_path, const char *path, struct error *err);
/* It can be read into again. */
void layer_xattrs_clear(struct layer_xattrs *self);
