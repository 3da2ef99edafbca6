/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device nodes and links of the container's /dev.
 */
#pragma once

#include "base/error.h"
#include "runtime/mounts.h"

#include <stdbool.h>

/* True when the container's /dev is ours to fill: not when the configuration binds one there. */
bool devices_are_wanted(const struct spec *spec);
#define DEVICES_FOLDER "devices"

/* In the command, for a container with a user namespace, whose root may make no nodes: makes those of linux.devices that the host does
 * not have in DEVICES_FOLDER below folder_fd, named by index, where only root may enter, with the owners and modes that they are to have,
 * and gives a detached mount of each. *ret_fds (by index, FD_NONE where a node of the host is to be bound) is the caller's to give to
 * devices_close_nodes(); NULL: none at all. */
int devices_open_nodes(const struct spec *spec, int folder_fd, int **ret_fds, struct error *err);
void devices_close_nodes(const struct spec *spec, int *fds);
/* The basic devices, linux.devices and the usual links; in a user namespace nodes are bound, from what the command made or from the host. */
int devices_make(const struct mount_context *context, const struct spec *spec, struct error *err);
/* Descriptors 0 to 2 that are the host's /dev/null become the container's: a checkpoint could not name the other. */
int devices_reopen_null(int root_fd, struct error *err);
