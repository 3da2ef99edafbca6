/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/sources.h"

#include "base/owned.h"
#include "runtime/devices.h"
#include "runtime/mounts.h"
#include "runtime/rootfs.h"
#include "runtime/standing.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <unistd.h>

/* Without mappings of its own an ID-mapped mount gets the container's. */
static int open_one(const struct spec *spec, const char *bundle, size_t index, int *ret_fd, struct error *err)
{
	const struct spec_linux *part = &spec->linux_part;
	struct spec_mount mount = spec->mounts.items[index];

	if (mounts_is_idmapped(&mount) && mount.uid_mappings.count == 0 && mount.gid_mappings.count == 0) {
		mount.uid_mappings = part->uid_mappings;
		mount.gid_mappings = part->gid_mappings;
	}
	return mounts_open_source(&mount, bundle, ret_fd, err) < 0 ? fail_while(err, "mounts[%zu]", index) : 0;
}

static int open_all(struct sources *self, struct error *err)
{
	const struct spec *spec = self->spec;

	if (self->has_user_namespace && !self->without_pivot && rootfs_open_tree(self->rootfs, &self->root_tree_fd, err) < 0)
		return err->code;
	self->fds = calloc(spec->mounts.count + 1, sizeof(*self->fds));
	if (self->fds == NULL)
		return fail_errno(err, ENOMEM, "open the sources of mounts");
	for (self->count = 0; self->count < spec->mounts.count; self->count++)
		self->fds[self->count] = FD_NONE;
	for (size_t i = 0; i < spec->mounts.count; i++) {
		const struct spec_mount *mount = &spec->mounts.items[i];

		if (mounts_is_bind(mount) && !mounts_copies_link(mount, self->bundle) && (self->has_user_namespace || mounts_is_idmapped(mount)) &&
		    open_one(spec, self->bundle, i, &self->fds[i], err) < 0)
			return err->code;
	}
	return self->has_user_namespace ? devices_open_nodes(spec, self->folder_fd, &self->device_fds, err) : 0;
}

int sources_open(struct sources *self, struct error *err)
{
	int r = open_all(self, err);

	if (r != -EPERM || !self->has_user_namespace)
		return r;
	sources_close(self);
	self->is_left_to_init = true;
	*err = ERROR_NONE;
	return 0;
}

int sources_open_inside(struct sources *self, struct error *err)
{
	return self->is_left_to_init ? open_all(self, err) : 0;
}

void sources_close(struct sources *self)
{
	if (self->root_tree_fd >= 0)
		close(self->root_tree_fd);
	for (size_t i = 0; i < self->count; i++)
		if (self->fds[i] >= 0)
			close(self->fds[i]);
	devices_close_nodes(self->spec, self->device_fds);
	free(self->fds);
	self->fds = self->device_fds = NULL;
	self->count = 0;
	self->root_tree_fd = FD_NONE;
}

int sources_check(const struct spec *spec, const char *bundle, struct error *err)
{
	for (size_t i = 0; i < spec->mounts.count; i++) {
		const struct spec_mount *mount = &spec->mounts.items[i];
		auto_close int fd = FD_NONE;

		if (!mounts_is_bind(mount) || !mounts_is_idmapped(mount))
			continue;
		if (!standing_has_capability(CAP_SYS_ADMIN))
			return fail_because(err, EPERM, "mounts[%zu].options: only root can map the ids of a mount", i);
		if (open_one(spec, bundle, i, &fd, err) < 0)
			return err->code;
	}
	return 0;
}
