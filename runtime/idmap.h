/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ID-mapped mounts.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

/* Maps the detached mount mount_fd as mount->uid_mappings and gid_mappings say. */
int idmap_apply(int mount_fd, const struct spec_mount *mount, bool is_recursive, struct error *err);
