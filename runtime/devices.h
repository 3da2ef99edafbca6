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
/* The basic devices, linux.devices and the usual links; in a user namespace nodes are bound from the host. */
int devices_make(const struct mount_context *context, const struct spec *spec, struct error *err);
/* Descriptors 0 to 2 that are the host's /dev/null become the container's: a checkpoint could not name the other. */
int devices_reopen_null(int root_fd, struct error *err);
