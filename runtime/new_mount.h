/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new file system by fsopen, fsconfig and fsmount: it exists before it has a place, so that everything about it is settled through
 * its descriptor, and nothing through a name that somebody exchanges.
 */
#pragma once

#include "runtime/mount_options.h"

#define NEW_MOUNT_NOT_POSSIBLE 1

/* Flags and data of options are used, its attributes and propagation are not. NEW_MOUNT_NOT_POSSIBLE: this kernel, this file system or one
 * of the options wants mount(2), which also knows why when it is refused there. */
int new_mount_make(const char *type, const char *source, const struct mount_options *options, int *ret_fd);
