/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With a cgroup namespace the hierarchies are mounted anew, which shows only what is below the container's own
 * cgroup; without one the container's folder of each is bound there.
 */
#include "runtime/cgroup_mount.h"

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/new_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <string.h>
#include <sys/stat.h>

static int attach_hierarchy(const struct mount_context *context, const struct cgroup_hierarchy *item, int target_fd,
			    unsigned long flags, struct error *err)
{
	bool is_v2 = item->name[0] == '\0';
	auto_close int source_fd = FD_NONE;

	if (context->has_cgroup_namespace &&
	    mounts_attach("cgroup", target_fd, is_v2 ? "cgroup2" : "cgroup", flags & ~(unsigned long) MS_REC,
			  is_v2 ? NULL : item->name) == 0)
		return 0;
	source_fd = kernel_open_tree(AT_FDCWD, item->dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (source_fd < 0)
		return fail_errno(err, errno, "open cgroup %s", item->dir);
	if (kernel_mount_setattr(source_fd, "", AT_EMPTY_PATH,
				 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
					 ((flags & MS_RDONLY) != 0 ? MOUNT_ATTR_RDONLY : 0), 0) < 0 ||
	    kernel_move_mount(source_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "bind cgroup %s", item->dir);
	return 0;
}

/* "cpu,cpuacct" is also reachable as "cpu" and "cpuacct" */
static int link_controllers(int dir_fd, const char *name, struct error *err)
{
	auto_free char *names = text_copy(name);
	char *rest = NULL;

	if (strchr(name, ',') == NULL)
		return 0;
	for (char *one = strtok_r(names, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest))
		if (symlinkat(name, dir_fd, one) < 0 && errno != EEXIST)
			return fail_errno(err, errno, "link cgroup controller %s", one);
	return 0;
}

static int fill_legacy(const struct mount_context *context, int dir_fd, const struct spec_mount *mount, unsigned long flags,
		       struct error *err)
{
	for (size_t i = 0; i < context->cgroup->count; i++) {
		const struct cgroup_hierarchy *item = &context->cgroup->items[i];
		const char *name = strrchr(item->mount, '/') + 1;
		auto_close int fd = FD_NONE;

		if (mkdirat(dir_fd, name, 0755) < 0)
			return fail_errno(err, errno, "make folder '%s/%s'", mount->destination, name);
		fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return fail_errno(err, errno, "open '%s/%s'", mount->destination, name);
		if (attach_hierarchy(context, item, fd, flags, err) < 0 || link_controllers(dir_fd, name, err) < 0)
			return err->code;
	}
	if ((flags & MS_RDONLY) != 0 && kernel_mount_setattr(dir_fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0) < 0)
		return fail_errno(err, errno, "make '%s' read-only", mount->destination);
	return 0;
}

/* What the hierarchies' folders are made in; by its descriptor, wherever its name leads by then. */
static int make_folder(const struct mount_context *context, int target_fd, const struct spec_mount *mount, int *ret_fd, struct error *err)
{
	static const struct mount_options options = {.flags = MS_NOSUID | MS_NODEV | MS_NOEXEC, .data = "mode=755"};
	auto_close int mount_fd = FD_NONE;

	if (new_mount_make("tmpfs", "tmpfs", &options, &mount_fd) == 0) {
		*ret_fd = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*ret_fd < 0 ||
		    kernel_move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
			return fail_errno(err, errno, "mount tmpfs on '%s'", mount->destination);
		return 0;
	}
	if (mounts_attach("tmpfs", target_fd, "tmpfs", options.flags, options.data) < 0)
		return fail_errno(err, errno, "mount tmpfs on '%s'", mount->destination);
	*ret_fd = open_in_root(context->root_fd, mount->destination, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	return *ret_fd < 0 ? fail_errno(err, errno, "open '%s'", mount->destination) : 0;
}

/* Without a cgroup of its own the container sees all that we see, and changes nothing. */
static int show_all(const struct mount_context *context, const struct spec_mount *mount, struct error *err)
{
	static const char *const options[] = {"rbind", "nosuid", "noexec", "nodev", "rro"};
	struct mount_context own = *context;
	struct spec_mount bind = {.destination = mount->destination, .source = CGROUP_ROOT};

	own.source_fds = NULL;
	bind.options = (struct json_strings){.items = (const char **) (uintptr_t) options, .count = 5};
	return mounts_make(&own, 0, &bind, err);
}

int cgroup_mount_make(const struct mount_context *context, const struct spec_mount *mount,
		      const struct mount_options *options, struct error *err)
{
	auto_close int target_fd = FD_NONE;
	auto_close int dir_fd = FD_NONE;

	if (mounts_open_target(context->root_fd, mount->destination, true, &target_fd, err) < 0 ||
	    mounts_refuse_proc(target_fd, mount->destination, err) < 0)
		return err->code;
	if (context->cgroup->count == 0)
		return show_all(context, mount, err);
	if (context->cgroup->is_unified)
		return attach_hierarchy(context, &context->cgroup->items[0], target_fd, options->flags, err);
	if (make_folder(context, target_fd, mount, &dir_fd, err) < 0)
		return err->code;
	return fill_legacy(context, dir_fd, mount, options->flags, err);
}
