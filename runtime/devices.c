/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills the container's /dev.
 */
#include "runtime/devices.h"

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/id_map.h"
#include "runtime/mount_options.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct device {
	const char *path;
	mode_t type;
	unsigned int major;
	unsigned int minor;
	mode_t mode;
	uint32_t uid;
	uint32_t gid;
};

static const struct device basics[] = {
	{"/dev/null", S_IFCHR, 1, 3, 0666, 0, 0},    {"/dev/zero", S_IFCHR, 1, 5, 0666, 0, 0},
	{"/dev/full", S_IFCHR, 1, 7, 0666, 0, 0},    {"/dev/random", S_IFCHR, 1, 8, 0666, 0, 0},
	{"/dev/urandom", S_IFCHR, 1, 9, 0666, 0, 0}, {"/dev/tty", S_IFCHR, 5, 0, 0666, 0, 0},
};

static const struct {
	const char *target;
	const char *path;
} links[] = {
	{"/proc/self/fd", "fd"},      {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
};

bool devices_are_wanted(const struct spec *spec)
{
	for (size_t i = 0; i < spec->mounts.count; i++)
		if (mount_is_at(spec->mounts.items[i].destination, "dev") && mounts_is_bind(&spec->mounts.items[i]))
			return false;
	return true;
}

static bool is_same_device(const struct stat *status, const struct device *device)
{
	return (status->st_mode & S_IFMT) == device->type &&
	       (device->type == S_IFIFO || status->st_rdev == makedev(device->major, device->minor));
}

static int bind_node(const struct mount_context *context, const struct device *device, int source_fd, struct error *err)
{
	auto_close int target_fd = FD_NONE;

	if (mounts_open_target(context->root_fd, device->path, false, &target_fd, err) < 0 ||
	    mounts_refuse_proc(target_fd, device->path, err) < 0)
		return err->code;
	if (kernel_move_mount(source_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "bind device '%s'", device->path);
	return 0;
}

static int bind_device(const struct mount_context *context, const struct device *device, struct error *err)
{
	auto_close int source_fd = kernel_open_tree(AT_FDCWD, device->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct stat status;

	if (source_fd < 0 || fstat(source_fd, &status) < 0)
		return fail_errno(err, errno, "open device '%s' of the host", device->path);
	if (!is_same_device(&status, device))
		return fail_because(err, EINVAL, "device '%s' of the host is another one, and none can be made here", device->path);
	return bind_node(context, device, source_fd, err);
}

static int make_node(int dir_fd, const char *name, const struct device *device, struct error *err)
{
	struct stat status;

	if (mknodat(dir_fd, name, device->type | device->mode, makedev(device->major, device->minor)) < 0) {
		if (errno != EEXIST || fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			return fail_errno(err, errno, "make device '%s'", device->path);
		if (!is_same_device(&status, device))
			return fail_because(err, EEXIST, "make device '%s': something else is there", device->path);
	}
	if ((device->uid != 0 || device->gid != 0) &&
	    fchownat(dir_fd, name, device->uid, device->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(err, errno, "set the owner of device '%s'", device->path);
	return 0;
}

static int make_device(const struct mount_context *context, int dev_fd, const struct device *device, struct error *err)
{
	const char *name = strrchr(device->path, '/');
	auto_free char *parent = NULL;
	auto_close int parent_fd = FD_NONE;

	if (name == NULL || name[1] == '\0')
		return fail_because(err, EINVAL, "linux.devices: '%s' is not the path of a device", device->path);
	if (context->is_in_user_namespace && device->type != S_IFIFO)
		return bind_device(context, device, err);
	parent = text_format("%.*s", (int) (name - device->path), device->path);
	if (strcmp(parent, "/dev") != 0 && mounts_open_target(context->root_fd, parent, true, &parent_fd, err) < 0)
		return err->code;
	if (make_node(parent_fd >= 0 ? parent_fd : dev_fd, name + 1, device, err) != -EPERM)
		return err->code;
	/* a user namespace that somebody else made, or a container whose device rules forbid it */
	*err = ERROR_NONE;
	return bind_device(context, device, err);
}

static int parse_device(const struct spec_device *from, struct arena *arena, struct device *ret_device, struct error *err)
{
	static const struct {
		const char *name;
		mode_t type;
	} types[] = {{"c", S_IFCHR}, {"u", S_IFCHR}, {"b", S_IFBLK}, {"p", S_IFIFO}};
	struct device device = {.mode = 0666};
	size_t length = from->path != NULL ? strlen(from->path) : 0;

	if (from->path == NULL || from->path[0] != '/')
		return fail_because(err, EINVAL, "linux.devices: a device has no absolute path");
	while (length > 1 && from->path[length - 1] == '/')
		length--;
	device.path = arena_format(arena, "%.*s", (int) length, from->path);
	for (size_t i = 0; i < 4; i++)
		if (from->type != NULL && strcmp(from->type, types[i].name) == 0)
			device.type = types[i].type;
	if (device.type == 0)
		return fail_because(err, EINVAL, "linux.devices: '%s' has no type of c, u, b or p", from->path);
	if (from->file_mode.is_set)
		device.mode = (mode_t) from->file_mode.value & 07777;
	device.major = (unsigned int) from->major.value;
	device.minor = (unsigned int) from->minor.value;
	device.uid = (uint32_t) from->uid.value;
	device.gid = (uint32_t) from->gid.value;
	*ret_device = device;
	return 0;
}

static bool host_has(const struct device *device)
{
	struct stat status;

	return lstat(device->path, &status) == 0 && is_same_device(&status, device);
}

/* -EPERM: not by us. */
static int open_node(const struct spec *spec, int folder_fd, size_t index, int *ret_fd, struct error *err)
{
	const struct spec_linux *part = &spec->linux_part;
	struct arena arena = ARENA_EMPTY;
	struct device device;
	char name[32];
	int r = parse_device(&part->devices.items[index], &arena, &device, err);

	(void) text_fit(name, sizeof(name), DEVICES_FOLDER "/%zu", index);
	if (r == 0 && device.type != S_IFIFO && !host_has(&device) && id_map_find(&part->uid_mappings, device.uid, &device.uid) &&
	    id_map_find(&part->gid_mappings, device.gid, &device.gid)) {
		r = make_node(folder_fd, name, &device, err);
		if (r == 0)
			*ret_fd = kernel_open_tree(folder_fd, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (r == 0 && (*ret_fd < 0 || kernel_mount_setattr(*ret_fd, "", AT_EMPTY_PATH, 0, MOUNT_ATTR_NODEV) < 0))
			r = fail_errno(err, errno, "open device '%s' to bind it", device.path);
	}
	arena_deinit(&arena);
	return r;
}

int devices_open_nodes(const struct spec *spec, int folder_fd, int **ret_fds, struct error *err)
{
	size_t count = spec->linux_part.devices.count;
	mode_t mask = umask(0);
	int r = 0;

	*ret_fds = count > 0 ? malloc(count * sizeof(**ret_fds)) : NULL;
	for (size_t i = 0; *ret_fds != NULL && i < count; i++)
		(*ret_fds)[i] = FD_NONE;
	if (count > 0 && mkdirat(folder_fd, DEVICES_FOLDER, 0700) < 0 && errno != EEXIST)
		r = fail_errno(err, errno, "make a folder for devices");
	for (size_t i = 0; *ret_fds != NULL && i < count && r == 0; i++)
		r = open_node(spec, folder_fd, i, &(*ret_fds)[i], err);
	(void) umask(mask);
	if (r != -EPERM)
		return r;
	*err = ERROR_NONE;
	return 0;
}

void devices_close_nodes(const struct spec *spec, int *fds)
{
	for (size_t i = 0; fds != NULL && i < spec->linux_part.devices.count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(fds);
}

static int make_links(int dev_fd, struct error *err)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (symlinkat(links[i].target, dev_fd, links[i].path) == 0 || errno == EEXIST)
			continue;
		return fail_errno(err, errno, "make link '/dev/%s'", links[i].path);
	}
	if (access("/proc/kcore", F_OK) == 0 && symlinkat("/proc/kcore", dev_fd, "core") < 0 && errno != EEXIST)
		return fail_errno(err, errno, "make link '/dev/core'");
	return 0;
}

/* An image may bring a ptmx of its own, which would belong to another devpts. */
static int drop_foreign_ptmx(int dev_fd, struct error *err)
{
	struct stat status;

	if (fstatat(dev_fd, "ptmx", &status, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(status.st_mode) &&
	    unlinkat(dev_fd, "ptmx", 0) < 0)
		return fail_errno(err, errno, "remove the image's /dev/ptmx");
	return 0;
}

static int make_wanted(const struct mount_context *context, int dev_fd, const struct spec *spec, struct error *err)
{
	struct arena arena = ARENA_EMPTY;
	struct device device;
	int r = 0;

	for (size_t i = 0; r == 0 && i < spec->linux_part.devices.count; i++) {
		int node_fd = context->device_fds != NULL ? context->device_fds[i] : FD_NONE;

		r = parse_device(&spec->linux_part.devices.items[i], &arena, &device, err);
		if (r == 0)
			r = node_fd >= 0 ? bind_node(context, &device, node_fd, err) : make_device(context, dev_fd, &device, err);
	}
	arena_deinit(&arena);
	return r;
}

int devices_make(const struct mount_context *context, const struct spec *spec, struct error *err)
{
	auto_close int target_fd = FD_NONE;
	auto_close int dev_fd = FD_NONE;

	if (mounts_open_target(context->root_fd, "/dev", true, &target_fd, err) < 0)
		return err->code;
	dev_fd = openat(target_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dev_fd < 0)
		return fail_errno(err, errno, "open /dev of the rootfs");
	for (size_t i = 0; i < sizeof(basics) / sizeof(basics[0]); i++)
		if (make_device(context, dev_fd, &basics[i], err) < 0)
			return err->code;
	if (make_wanted(context, dev_fd, spec, err) < 0)
		return err->code;
	if (drop_foreign_ptmx(dev_fd, err) < 0)
		return err->code;
	return make_links(dev_fd, err);
}

static bool is_null(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

int devices_reopen_null(int root_fd, struct error *err)
{
	auto_close int null_fd = FD_NONE;

	for (int fd = 0; fd < 3; fd++) {
		if (!is_null(fd))
			continue;
		if (null_fd < 0)
			null_fd = open_in_root(root_fd, "/dev/null", O_RDWR | O_CLOEXEC, 0);
		if (null_fd < 0 || !is_null(null_fd))
			return 0; /* an odd rootfs keeps the host's */
		if (dup2(null_fd, fd) < 0)
			return fail_errno(err, errno, "reopen /dev/null");
	}
	return 0;
}
