/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ID-mapped mounts and user namespaces made for their mappings.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

/* Maps the detached mount mount_fd as mount->uid_mappings and gid_mappings say. */
int idmap_apply(int mount_fd, const struct spec_mount *mount, bool is_recursive, struct error *err);

/* Writes uid_map, gid_map (and setgroups, when only we ourselves are mapped) of the process. */
int idmap_write(pid_t pid, const spec_id_mapping_list *uids, const spec_id_mapping_list *gids, struct error *err);
