/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounts of config.json, made below a root directory that may hold hostile symbolic links: every target is
 * opened inside the root and then only used by descriptor.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>

struct cgroup;

struct mount_context {
	int root_fd;                 /* the rootfs, already a mount point */
	const char *bundle;          /* relative sources start here */
	const struct cgroup *cgroup; /* what a mount of type "cgroup" shows */
	bool has_cgroup_namespace;
	bool is_in_user_namespace;
	const char *label;           /* SELinux context for mounts, or NULL */
	const int *source_fds;       /* by index: bind sources opened by the parent, FD_NONE elsewhere; or NULL */
	const int *device_fds;       /* of devices_open_nodes(), or NULL */
};

int mounts_make(const struct mount_context *self, size_t index, const struct spec_mount *mount, struct error *err);

/* The tmpfs on /dev: folders and devices come into it after it was mounted; rootfs_guard() makes it read-only when it should be. */
bool mounts_is_sealed_later(const struct spec_mount *mount);

/* A detached copy of the source of a bind mount with its attributes set. For containers with a user namespace the
 * parent does it, because init could not pass through folders that only the host's root may enter. */
int mounts_open_source(const struct spec_mount *mount, const char *bundle, int *ret_fd, struct error *err);
bool mounts_is_bind(const struct spec_mount *mount);
/* A bind of a link that asks for a copy of the link instead (copy-symlink). */
bool mounts_copies_link(const struct spec_mount *mount, const char *bundle);
bool mounts_is_idmapped(const struct spec_mount *mount);

/* Opens path below the root, O_PATH; makes it (a folder or an empty file) and its parents when it is missing. */
int mounts_open_target(int root_fd, const char *path, bool is_folder, int *ret_fd, struct error *err);

/* Nothing may cover a part of a procfs but the few files that others make up. destination is what the specification says. */
int mounts_refuse_proc(int target_fd, const char *destination, struct error *err);
/* mount(2) onto what target_fd names. */
int mounts_attach(const char *source, int target_fd, const char *type, unsigned long flags, const char *data);
