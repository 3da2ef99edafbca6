/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's root directory: made a mount, dressed, guarded, and finally entered.
 * Everything happens before the root is entered, through descriptors, with the host's /proc and /dev at hand.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>

/* Takes the mount namespace off the host's and makes rootfs a mount point. tree_fd, if there is one, is a clone of it
 * that somebody with more rights has opened; it is then not looked up by name. */
int rootfs_prepare(const struct spec *spec, const char *rootfs, int tree_fd, int *ret_root_fd, struct error *err);
/* Such a clone. */
int rootfs_open_tree(const char *rootfs, int *ret_fd, struct error *err);
/* Read-only paths, masked paths, read-only root. */
int rootfs_guard(const struct spec *spec, int root_fd, struct error *err);
int rootfs_enter(const struct spec *spec, int root_fd, bool without_pivot, struct error *err);
/* Writes linux.sysctl through the host's /proc, which the image cannot have tampered with. */
int rootfs_set_sysctls(const struct spec *spec, struct error *err);

/* What can be told of linux.rootfsPropagation and linux.sysctl before anything is made. */
int rootfs_check(const struct spec *spec, struct error *err);
/* True when the kernel keeps this sysctl per namespace and the container has that namespace for itself. */
bool rootfs_is_namespaced_sysctl(const struct spec *spec, const char *name);
/* MS_* for "rslave" and its like; 0 for NULL or an unknown word. */
unsigned long rootfs_propagation(const char *word);
