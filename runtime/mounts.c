/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mount entry after another. Bind mounts are cloned, changed while nobody can see them, and then moved into
 * place, so that no moment exists in which a read-only mount is writable.
 */
#include "runtime/mounts.h"

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup_mount.h"
#include "runtime/copy_up.h"
#include "runtime/idmap.h"
#include "runtime/mount_options.h"
#include "runtime/new_mount.h"
#include "runtime/procfs.h"
#include "runtime/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* What may be put over files of /proc (lxcfs and friends); the rest of /proc guards the host. */
static const char *const proc_exceptions[] = {
	"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
	"/proc/loadavg", "/proc/slabinfo", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled", NULL,
};

int mounts_attach(const char *source, int target_fd, const char *type, unsigned long flags, const char *data)
{
	char target[64];

	(void) text_fit(target, sizeof(target), "/proc/self/fd/%d", target_fd);
	return mount(source, target, type, flags, data);
}

/* A link in the image that leads nowhere: what is missing is where it leads, inside of the rootfs. 0: it is no link. */
static int follow_link(int parent_fd, const char *parent, const char *name, char **ret_path)
{
	char target[PATH_MAX];
	ssize_t size = readlinkat(parent_fd, name, target, sizeof(target));

	if (size <= 0 || size >= (ssize_t) sizeof(target))
		return 0;
	*ret_path = target[0] == '/' ? text_format("%.*s", (int) size, target) : text_format("%s/%.*s", parent, (int) size, target);
	return 1;
}

static int make_missing(int root_fd, const char *path, bool is_folder, struct error *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	auto_free char *parent = slash != NULL ? text_format("%.*s", (int) (slash - path), path) : text_copy("");
	auto_close int parent_fd = FD_NONE;
	auto_close int made_fd = FD_NONE;
	auto_free char *elsewhere = NULL;
	auto_close int elsewhere_fd = FD_NONE;

	if (mounts_open_target(root_fd, parent, true, &parent_fd, err) < 0)
		return err->code;
	if (name[0] == '\0')
		return 0;
	if (strlen(path) < PATH_MAX && follow_link(parent_fd, parent, name, &elsewhere) > 0)
		return mounts_open_target(root_fd, elsewhere, is_folder, &elsewhere_fd, err);
	if (is_folder && mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST)
		return fail_errno(err, errno, "make folder '%s' in the rootfs", path);
	if (is_folder)
		return 0;
	made_fd = openat(parent_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (made_fd < 0 && errno != EEXIST)
		return fail_errno(err, errno, "make file '%s' in the rootfs", path);
	return 0;
}

int mounts_open_target(int root_fd, const char *path, bool is_folder, int *ret_fd, struct error *err)
{
	int fd = open_in_root(root_fd, path[0] != '\0' ? path : "/", O_PATH | O_CLOEXEC, 0);

	if (fd < 0 && errno == ENOENT) {
		if (make_missing(root_fd, path, is_folder, err) < 0)
			return err->code;
		fd = open_in_root(root_fd, path, O_PATH | O_CLOEXEC, 0);
	}
	if (fd < 0)
		return fail_errno(err, errno, "open '%s' in the rootfs", path);
	*ret_fd = fd;
	return 0;
}

static bool has_word(const struct spec_mount *mount, const char *word)
{
	for (size_t i = 0; i < mount->options.count; i++)
		if (strcmp(mount->options.items[i], word) == 0)
			return true;
	return false;
}

bool mounts_is_bind(const struct spec_mount *mount)
{
	if (has_word(mount, "remount"))
		return false;
	if (mount->type != NULL && strcmp(mount->type, "bind") == 0)
		return true;
	return has_word(mount, "bind") || has_word(mount, "rbind");
}

/* What the link of the host says; "": it is none. */
static void read_source_link(const struct spec_mount *mount, const char *bundle, char target[static PATH_MAX])
{
	bool is_relative = mount->source != NULL && mount->source[0] != '/';
	auto_free char *path = text_format("%s%s%s", is_relative ? bundle : "", is_relative ? "/" : "", mount->source != NULL ? mount->source : "");
	ssize_t size = readlink(path, target, PATH_MAX);

	target[size > 0 && size < PATH_MAX ? size : 0] = '\0';
}

bool mounts_copies_link(const struct spec_mount *mount, const char *bundle)
{
	char target[PATH_MAX];

	if (!has_word(mount, "copy-symlink"))
		return false;
	read_source_link(mount, bundle, target);
	return target[0] != '\0';
}

bool mounts_is_idmapped(const struct spec_mount *mount)
{
	return has_word(mount, "idmap") || has_word(mount, "ridmap") || mount->uid_mappings.count > 0 || mount->gid_mappings.count > 0;
}

/* What a mount of the host forbids, a user namespace may not allow again. Nor may it change how times of access are noted, but that is not
 * worth a failure. */
static int change_attributes(int fd, unsigned int flags, uint64_t set, uint64_t clear)
{
	const uint64_t times = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;

	if ((set | clear) == 0 || kernel_mount_setattr(fd, "", AT_EMPTY_PATH | flags, set, clear) == 0)
		return 0;
	if (errno != EPERM || ((set | clear) & times) == 0)
		return -errno;
	set &= ~times;
	clear &= ~times;
	return (set | clear) == 0 || kernel_mount_setattr(fd, "", AT_EMPTY_PATH | flags, set, clear) == 0 ? 0 : -errno;
}

static int set_attributes(int fd, const struct mount_options *options, const struct spec_mount *mount, struct error *err)
{
	int r = change_attributes(fd, 0, options->attributes_set, options->attributes_clear);

	if (r == 0)
		r = change_attributes(fd, AT_RECURSIVE, options->recursive_set, options->recursive_clear);
	if (r == -EPERM)
		return fail_because(err, EPERM, "set the options of mount '%s': one of them allows what the mount of its source forbids, which a user "
				    "namespace may not", mount->destination);
	return r < 0 ? fail_errno(err, -r, "set the options of mount '%s'", mount->destination) : 0;
}

int mounts_open_source(const struct spec_mount *mount, const char *bundle, int *ret_fd, struct error *err)
{
	struct mount_options options;
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	auto_close int bundle_fd = FD_NONE;
	auto_close int fd = FD_NONE;
	const char *source = mount->source != NULL ? mount->source : "";

	if (mount_options_parse(&mount->options, &options) < 0)
		return fail_because(err, E2BIG, "options of mount '%s' are too long", mount->destination);
	if (source[0] != '/') {
		bundle_fd = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (bundle_fd < 0)
			return fail_errno(err, errno, "open bundle '%s'", bundle);
	}
	if ((options.flags & MS_REC) != 0)
		flags |= AT_RECURSIVE;
	fd = kernel_open_tree(source[0] != '/' ? bundle_fd : AT_FDCWD, source, flags);
	if (fd < 0)
		return fail_errno(err, errno, "open source '%s' of mount '%s'", source, mount->destination);
	if (mounts_is_idmapped(mount)) {
		if (idmap_apply(fd, mount, options.is_idmapped_recursively, err) < 0)
			return err->code;
	}
	if (set_attributes(fd, &options, mount, err) < 0)
		return err->code;
	*ret_fd = take_fd(&fd);
	return 0;
}

int mounts_refuse_proc(int target_fd, const char *destination, struct error *err)
{
	if (procfs_has(target_fd) && !text_is_one_of(destination, proc_exceptions))
		return fail_because(err, EINVAL, "mount '%s': it would cover a part of /proc", destination);
	return 0;
}

/* Propagation is a property of what is now mounted there, so the target is opened again. */
static int set_propagation(const struct mount_context *self, const struct spec_mount *mount, unsigned long propagation,
			   struct error *err)
{
	auto_close int fd = FD_NONE;

	if (propagation == 0)
		return 0;
	if (mounts_open_target(self->root_fd, mount->destination, true, &fd, err) < 0)
		return err->code;
	if (mounts_attach(NULL, fd, NULL, propagation, NULL) < 0)
		return fail_errno(err, errno, "set the propagation of mount '%s'", mount->destination);
	return 0;
}

static int make_bind(const struct mount_context *self, size_t index, const struct spec_mount *mount,
		     const struct mount_options *options, struct error *err)
{
	auto_close int own_fd = FD_NONE;
	auto_close int target_fd = FD_NONE;
	int source_fd = self->source_fds != NULL ? self->source_fds[index] : FD_NONE;
	struct stat source;

	if (source_fd < 0) {
		if (mounts_open_source(mount, self->bundle, &own_fd, err) < 0)
			return err->code;
		source_fd = own_fd;
	}
	if (fstat(source_fd, &source) < 0)
		return fail_errno(err, errno, "look at source '%s'", mount->source);
	if (mounts_open_target(self->root_fd, mount->destination, S_ISDIR(source.st_mode), &target_fd, err) < 0 ||
	    mounts_refuse_proc(target_fd, mount->destination, err) < 0)
		return err->code;
	if (kernel_move_mount(source_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "bind '%s' to '%s'", mount->source, mount->destination);
	/* the descriptor is that of the mount, wherever its name leads by now */
	if (options->propagation != 0 && mounts_attach(NULL, source_fd, NULL, options->propagation, NULL) < 0)
		return fail_errno(err, errno, "set the propagation of mount '%s'", mount->destination);
	return 0;
}

static int copy_link(const struct mount_context *self, const struct spec_mount *mount, struct error *err)
{
	const char *slash = strrchr(mount->destination, '/');
	const char *name = slash != NULL ? slash + 1 : mount->destination;
	auto_free char *parent = text_format("%.*s", (int) (name - mount->destination), mount->destination);
	auto_close int parent_fd = FD_NONE;
	char target[PATH_MAX], present[PATH_MAX];
	ssize_t size;

	read_source_link(mount, self->bundle, target);
	if (mounts_open_target(self->root_fd, parent, true, &parent_fd, err) < 0 ||
	    mounts_refuse_proc(parent_fd, mount->destination, err) < 0)
		return err->code;
	if (symlinkat(target, parent_fd, name) == 0)
		return 0;
	size = errno == EEXIST ? readlinkat(parent_fd, name, present, sizeof(present)) : -1;
	if (size == (ssize_t) strlen(target) && memcmp(present, target, strlen(target)) == 0)
		return 0;
	return fail_errno(err, errno, "make link '%s' in the rootfs", mount->destination);
}

static bool needs_ordinary_folder(const struct spec_mount *mount)
{
	return mount->type != NULL && (strcmp(mount->type, "proc") == 0 || strcmp(mount->type, "sysfs") == 0);
}

/* An image whose /proc is a link elsewhere would have masked paths looked for where they are not. What has been looked at is what is
 * mounted on, for somebody may exchange it all the time. */
static int open_ordinary_folder(const struct mount_context *self, const struct spec_mount *mount, int *ret_fd, struct error *err)
{
	auto_close int fd = open_in_root(self->root_fd, mount->destination, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	struct stat status;

	if (fd < 0 && errno == ENOENT) {
		if (make_missing(self->root_fd, mount->destination, true, err) < 0)
			return err->code;
		fd = open_in_root(self->root_fd, mount->destination, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	}
	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "open '%s' in the rootfs", mount->destination);
	if (!S_ISDIR(status.st_mode))
		return fail_because(err, ENOTDIR, "filesystem %s: '%s' must be mounted on ordinary directory", mount->type,
				    mount->destination);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Where it will be looked for there is now a file system of its kind. */
static int check_ordinary_folder(const struct mount_context *self, const struct spec_mount *mount, struct error *err)
{
	auto_close int fd = open_in_root(self->root_fd, mount->destination, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	bool is_proc = strcmp(mount->type, "proc") == 0;
	struct statfs filesystem;

	if (fd < 0 || fstatfs(fd, &filesystem) < 0)
		return fail_errno(err, errno, "look at '%s' in the rootfs", mount->destination);
	if (filesystem.f_type != (is_proc ? PROC_SUPER_MAGIC : SYSFS_MAGIC))
		return fail_because(err, EINVAL, "filesystem %s: it is not what '%s' shows", mount->type, mount->destination);
	return 0;
}

static int add_label(struct mount_options *options, const char *label, const struct spec_mount *mount, struct error *err)
{
	size_t used = strlen(options->data);

	if (label == NULL || label[0] == '\0' || needs_ordinary_folder(mount) || strstr(options->data, "context=") != NULL)
		return 0;
	if (!text_fit(options->data + used, sizeof(options->data) - used, "%scontext=\"%s\"", used > 0 ? "," : "", label))
		return fail_because(err, E2BIG, "options of mount '%s' are too long", mount->destination);
	return 0;
}

/* A user namespace that does not own the network namespace may not mount sysfs, but may show the one that is there. */
static int mount_refused(const struct mount_context *self, const struct spec_mount *mount, const char *type, struct error *err)
{
	static const char *const options[] = {"rbind", "nosuid", "noexec", "nodev", "rro"};
	struct mount_context own = *self;
	struct spec_mount bind = {.destination = mount->destination, .source = "/sys"};

	own.source_fds = NULL;
	bind.options = (struct json_strings){.items = (const char **) (uintptr_t) options, .count = 5};
	if (strcmp(type, "sysfs") == 0)
		return mounts_make(&own, 0, &bind, err);
	if (strcmp(type, "proc") == 0)
		return fail_errno(err, EPERM, "mount proc on '%s': the kernel does so only where nothing covers a part of the present /proc "
				  "(masked paths of an outer container: docker run --privileged, podman run --security-opt unmask=ALL)",
				  mount->destination);
	return fail_errno(err, EPERM, "mount %s on '%s'", type, mount->destination);
}

/* The folder itself becomes like the one that it covers, but for what the options say of it. */
static int copy_up(int below_fd, int mount_fd, const struct spec_mount *mount, const char *data, struct error *err)
{
	auto_close int from_fd = openat(below_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int to_fd = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat wanted;

	if (from_fd < 0 || to_fd < 0 || fstat(to_fd, &wanted) < 0)
		return fail_errno(err, errno, "copy up '%s'", mount->destination);
	if (copy_up_folder(from_fd, to_fd, err) < 0)
		return fail_while(err, "copy up '%s'", mount->destination);
	if ((strstr(data, "uid=") != NULL && fchown(to_fd, wanted.st_uid, (gid_t) -1) < 0) ||
	    (strstr(data, "gid=") != NULL && fchown(to_fd, (uid_t) -1, wanted.st_gid) < 0) ||
	    (strstr(data, "mode=") != NULL && fchmod(to_fd, wanted.st_mode & 07777) < 0))
		return fail_errno(err, errno, "set the owner of '%s'", mount->destination);
	return 0;
}

/* What is only done to a file system that has its content. */
static int complete(int below_fd, int mount_fd, const struct spec_mount *mount, const struct mount_options *options, struct error *err)
{
	struct mount_options rest = {.recursive_set = options->recursive_set, .recursive_clear = options->recursive_clear};

	if (options->copies_up && copy_up(below_fd, mount_fd, mount, options->data, err) < 0)
		return err->code;
	if (options->copies_up)
		rest.attributes_set = options->attributes_set & MOUNT_ATTR_RDONLY;
	return set_attributes(mount_fd, &rest, mount, err);
}

/* The kernel's older way: the file system is somewhere at once, and what remains to be done finds it by its name. */
static int attach_by_name(const struct mount_context *self, int target_fd, const struct spec_mount *mount,
			  const struct mount_options *options, struct error *err)
{
	const char *type = mount->type != NULL ? mount->type : "none";
	auto_close int mount_fd = FD_NONE;

	if (mounts_attach(mount->source != NULL ? mount->source : type, target_fd, type, options->flags, options->data) < 0) {
		if (errno == EPERM && (self->is_in_user_namespace || standing_is_in_user_namespace()))
			return mount_refused(self, mount, type, err);
		return fail_errno(err, errno, "mount %s on '%s'", type, mount->destination);
	}
	if (mounts_open_target(self->root_fd, mount->destination, true, &mount_fd, err) < 0 ||
	    complete(target_fd, mount_fd, mount, options, err) < 0)
		return err->code;
	return set_propagation(self, mount, options->propagation, err);
}

bool mounts_is_sealed_later(const struct spec_mount *mount)
{
	return mount->destination != NULL && mount_is_at(mount->destination, "dev") && mount->type != NULL && strcmp(mount->type, "tmpfs") == 0;
}

/* Who names no mode gets that of the folder which is covered, as long as there is one. */
static int add_mode(const struct mount_context *self, const struct spec_mount *mount, struct mount_options *options, struct error *err)
{
	auto_close int fd = FD_NONE;
	size_t used = strlen(options->data);
	struct stat status;

	if (mount->type == NULL || strcmp(mount->type, "tmpfs") != 0 || text_has_prefix(options->data, "mode=") || strstr(options->data, ",mode=") != NULL)
		return 0;
	fd = open_in_root(self->root_fd, mount->destination, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0 || fstat(fd, &status) < 0)
		return 0;
	if (!text_fit(options->data + used, sizeof(options->data) - used, "%smode=%04o", used > 0 ? "," : "", status.st_mode & 07777))
		return fail_because(err, E2BIG, "options of mount '%s' are too long", mount->destination);
	return 0;
}

static int make_filesystem(const struct mount_context *self, const struct spec_mount *mount,
			   struct mount_options *options, struct error *err)
{
	const char *type = mount->type != NULL ? mount->type : "none";
	auto_close int target_fd = FD_NONE;
	auto_close int mount_fd = FD_NONE;

	if (options->copies_up || mounts_is_sealed_later(mount))
		options->flags &= ~(unsigned long) MS_RDONLY;
	if (mounts_is_sealed_later(mount))
		options->attributes_set &= ~(uint64_t) MOUNT_ATTR_RDONLY;
	if (add_mode(self, mount, options, err) < 0)
		return err->code;
	if ((needs_ordinary_folder(mount) ? open_ordinary_folder(self, mount, &target_fd, err)
					  : mounts_open_target(self->root_fd, mount->destination, true, &target_fd, err)) < 0 ||
	    mounts_refuse_proc(target_fd, mount->destination, err) < 0 || add_label(options, self->label, mount, err) < 0)
		return err->code;
	if (new_mount_make(type, mount->source != NULL ? mount->source : type, options, &mount_fd) != 0)
		return attach_by_name(self, target_fd, mount, options, err);
	if (complete(target_fd, mount_fd, mount, options, err) < 0)
		return err->code;
	if (kernel_move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "mount %s on '%s'", type, mount->destination);
	if (options->propagation != 0 && mounts_attach(NULL, mount_fd, NULL, options->propagation, NULL) < 0)
		return fail_errno(err, errno, "set the propagation of mount '%s'", mount->destination);
	return 0;
}

/* What is mounted there already: with "bind" only this mount, else its file system changes. */
static int remount(const struct mount_context *self, const struct spec_mount *mount, const struct mount_options *options,
		   struct error *err)
{
	auto_close int fd = open_in_root(self->root_fd, mount->destination, O_PATH | O_CLOEXEC, 0);

	if (fd < 0)
		return fail_errno(err, errno, "open '%s' in the rootfs", mount->destination);
	if ((options->flags & MS_BIND) == 0 && mounts_attach(NULL, fd, NULL, options->flags, options->data) < 0)
		return fail_errno(err, errno, "remount '%s'", mount->destination);
	if (set_attributes(fd, options, mount, err) < 0)
		return err->code;
	return set_propagation(self, mount, options->propagation, err);
}

int mounts_make(const struct mount_context *self, size_t index, const struct spec_mount *mount, struct error *err)
{
	struct mount_options options;

	if (mount_options_parse(&mount->options, &options) < 0)
		return fail_because(err, E2BIG, "options of mount '%s' are too long", mount->destination);
	if ((options.flags & MS_REMOUNT) != 0)
		return remount(self, mount, &options, err);
	if (mounts_is_bind(mount) && mounts_copies_link(mount, self->bundle))
		return copy_link(self, mount, err);
	if (mounts_is_bind(mount))
		return make_bind(self, index, mount, &options, err);
	if (mount->type != NULL && strcmp(mount->type, "cgroup") == 0)
		return cgroup_mount_make(self, mount, &options, err);
	if (make_filesystem(self, mount, &options, err) < 0)
		return err->code;
	return needs_ordinary_folder(mount) ? check_ordinary_folder(self, mount, err) : 0;
}
