/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a folder of the host to the root of a container.
 */
#include "runtime/rootfs.h"

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/mount_options.h"
#include "runtime/mounts.h"
#include "runtime/move_root.h"
#include "runtime/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

static const struct {
	const char *word;
	unsigned long flags;
} propagations[] = {
	{"shared", MS_SHARED},           {"rshared", MS_SHARED | MS_REC},         {"slave", MS_SLAVE},
	{"rslave", MS_SLAVE | MS_REC},   {"private", MS_PRIVATE},                 {"rprivate", MS_PRIVATE | MS_REC},
	{"unbindable", MS_UNBINDABLE},   {"runbindable", MS_UNBINDABLE | MS_REC},
};

static const char *const ipc_sysctls[] = {
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	"kernel.shm_rmid_forced", NULL,
};

unsigned long rootfs_propagation(const char *word)
{
	for (size_t i = 0; word != NULL && i < sizeof(propagations) / sizeof(propagations[0]); i++)
		if (strcmp(propagations[i].word, word) == 0)
			return propagations[i].flags;
	return 0;
}

/* pivot_root(2) refuses a root whose parent mount is shared. */
static int make_parent_private(const char *rootfs, struct error *err)
{
	auto_free char *path = text_copy(rootfs);

	for (;;) {
		char *slash = strrchr(path, '/');

		if (mount(NULL, path[0] != '\0' ? path : "/", NULL, MS_PRIVATE, NULL) == 0)
			return 0;
		if (errno != EINVAL || slash == NULL || path[0] == '\0')
			return fail_errno(err, errno, "make the mount of '%s' private", rootfs);
		*slash = '\0';
	}
}

int rootfs_open_tree(const char *rootfs, int *ret_fd, struct error *err)
{
	*ret_fd = kernel_open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	return *ret_fd < 0 ? fail_errno(err, errno, "open rootfs '%s'", rootfs) : 0;
}

static int set_propagation(const struct spec *spec, unsigned long *ret_flags, struct error *err)
{
	const char *word = spec->linux_part.rootfs_propagation;

	*ret_flags = MS_SLAVE | MS_REC;
	if (word != NULL && word[0] != '\0') {
		*ret_flags = rootfs_propagation(word);
		if (*ret_flags == 0)
			return fail_because(err, EINVAL, "linux.rootfsPropagation: unknown word '%s'", word);
	}
	if (mount(NULL, "/", NULL, *ret_flags, NULL) < 0)
		return fail_errno(err, errno, "set the propagation of the mount namespace");
	return 0;
}

int rootfs_prepare(const struct spec *spec, const char *rootfs, int tree_fd, int *ret_root_fd, struct error *err)
{
	/* a tree whose name we may be unable to reach goes on top of our own root, where nobody looks */
	const char *place = tree_fd >= 0 ? "/" : rootfs;
	unsigned long propagation = 0;
	auto_close int target_fd = FD_NONE;
	auto_close int root_fd = tree_fd >= 0 ? fcntl(tree_fd, F_DUPFD_CLOEXEC, 3) : FD_NONE;

	if (set_propagation(spec, &propagation, err) < 0)
		return err->code;
	if ((propagation & MS_PRIVATE) == 0 && make_parent_private(place, err) < 0)
		return err->code;
	if (tree_fd < 0 && rootfs_open_tree(rootfs, &root_fd, err) < 0)
		return err->code;
	target_fd = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target_fd < 0)
		return fail_errno(err, errno, "open rootfs '%s'", place);
	if (kernel_move_mount(root_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "bind rootfs '%s'", rootfs);
	*ret_root_fd = take_fd(&root_fd);
	return 0;
}

/* Paths of /proc are looked up from the procfs that was mounted there, not through the rootfs: whoever shares the rootfs
 * could move the folder away meanwhile, and what is not found is not guarded (CVE-2019-19921, CVE-2023-27561). */
struct guard {
	int root_fd;
	int proc_fd; /* FD_NONE: the specification mounts none */
};

static int guard_init(struct guard *self, const struct spec *spec, int root_fd, struct error *err)
{
	*self = (struct guard){root_fd, FD_NONE};
	for (size_t i = 0; i < spec->mounts.count && self->proc_fd < 0; i++) {
		const struct spec_mount *mount = &spec->mounts.items[i];

		if (mount->type == NULL || strcmp(mount->type, "proc") != 0 || !mount_is_at(mount->destination, "proc"))
			continue;
		self->proc_fd = open_in_root(root_fd, "/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (self->proc_fd < 0)
			return fail_errno(err, errno, "open /proc of the rootfs");
		if (!procfs_has(self->proc_fd))
			return fail_because(err, EINVAL, "/proc of the rootfs is not what was mounted there");
	}
	return 0;
}

static int guard_open(const struct guard *self, const char *path)
{
	bool is_in_proc = self->proc_fd >= 0 && text_has_prefix(path, "/proc/");

	return open_in_root(is_in_proc ? self->proc_fd : self->root_fd, is_in_proc ? path + strlen("/proc") : path, O_PATH | O_CLOEXEC, 0);
}

static int check_seal(const struct guard *guard, const char *path, struct error *err)
{
	auto_close int fd = guard_open(guard, path);
	struct statvfs filesystem;

	if (fd < 0 || fstatvfs(fd, &filesystem) < 0)
		return fail_errno(err, errno, "look at read-only path '%s' again", path);
	return (filesystem.f_flag & ST_RDONLY) != 0 ? 0 : fail_because(err, EINVAL, "read-only path '%s' is not read-only", path);
}

static int seal_path(const struct guard *guard, const char *path, struct error *err)
{
	auto_close int target_fd = guard_open(guard, path);
	auto_close int tree_fd = FD_NONE;

	if (target_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : fail_errno(err, errno, "open read-only path '%s'", path);
	tree_fd = kernel_open_tree(target_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (tree_fd < 0 || kernel_mount_setattr(tree_fd, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0) < 0 ||
	    kernel_move_mount(tree_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "make path '%s' read-only", path);
	return check_seal(guard, path, err);
}

/* What masked folders show; made once, cloned for each. */
static int open_empty_folder(int *ret_fd, struct error *err)
{
	auto_close int context_fd = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (context_fd < 0 || fsconfig(context_fd, FSCONFIG_SET_STRING, "nr_blocks", "1", 0) < 0 ||
	    fsconfig(context_fd, FSCONFIG_SET_STRING, "mode", "755", 0) < 0 ||
	    fsconfig(context_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail_errno(err, errno, "make an empty folder to mask with");
	fd = fsmount(context_fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fd < 0)
		return fail_errno(err, errno, "mount an empty folder to mask with");
	*ret_fd = fd;
	return 0;
}

struct mask {
	int null_fd;   /* the host's /dev/null, checked to be that */
	int folder_fd; /* FD_NONE until the first folder is masked */
};

static int mask_folder(struct mask *mask, int target_fd, const char *path, struct error *err)
{
	bool is_first = mask->folder_fd < 0;
	auto_close int clone_fd = FD_NONE;

	if (is_first && open_empty_folder(&mask->folder_fd, err) < 0)
		return err->code;
	if (!is_first) {
		clone_fd = kernel_open_tree(mask->folder_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		if (clone_fd < 0)
			return fail_errno(err, errno, "mask path '%s'", path);
	}
	if (kernel_move_mount(is_first ? mask->folder_fd : clone_fd, "", target_fd, "",
			      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "mask path '%s'", path);
	return 0;
}

/* What is found there afterwards has to be the mask (CVE-2025-31133). */
static int check_mask(const struct mask *mask, const struct guard *guard, const char *path, bool is_folder, struct error *err)
{
	auto_close int fd = guard_open(guard, path);
	struct stat status, folder;
	bool is_masked;

	if (fd < 0 || fstat(fd, &status) < 0 || (is_folder && fstat(mask->folder_fd, &folder) < 0))
		return fail_errno(err, errno, "look at masked path '%s' again", path);
	if (is_folder)
		is_masked = status.st_dev == folder.st_dev && status.st_ino == folder.st_ino;
	else
		is_masked = S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
	return is_masked ? 0 : fail_because(err, EINVAL, "masked path '%s' is not masked", path);
}

static int mask_path(struct mask *mask, const struct guard *guard, const char *path, struct error *err)
{
	auto_close int target_fd = guard_open(guard, path);
	auto_close int null_tree_fd = FD_NONE;
	struct stat status;

	if (target_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : fail_errno(err, errno, "open masked path '%s'", path);
	if (fstat(target_fd, &status) < 0)
		return fail_errno(err, errno, "look at masked path '%s'", path);
	if (S_ISDIR(status.st_mode))
		return mask_folder(mask, target_fd, path, err) < 0 ? err->code : check_mask(mask, guard, path, true, err);
	null_tree_fd = kernel_open_tree(mask->null_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (null_tree_fd < 0 || kernel_move_mount(null_tree_fd, "", target_fd, "",
						  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "mask path '%s'", path);
	return check_mask(mask, guard, path, false, err);
}

static int mask_paths(const struct spec *spec, const struct guard *guard, struct error *err)
{
	auto_close int null_fd = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct mask mask = {.null_fd = null_fd, .folder_fd = FD_NONE};
	struct stat status;
	int r = 0;

	if (spec->linux_part.masked_paths.count == 0)
		return 0;
	if (null_fd < 0 || fstat(null_fd, &status) < 0)
		return fail_errno(err, errno, "open /dev/null");
	if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3))
		return fail_because(err, EINVAL, "the host's /dev/null is not the null device");
	for (size_t i = 0; i < spec->linux_part.masked_paths.count && r == 0; i++)
		r = mask_path(&mask, guard, spec->linux_part.masked_paths.items[i], err);
	if (mask.folder_fd >= 0)
		close(mask.folder_fd);
	return r;
}

static int guard_paths(const struct spec *spec, const struct guard *guard, struct error *err)
{
	for (size_t i = 0; i < spec->linux_part.readonly_paths.count; i++)
		if (seal_path(guard, spec->linux_part.readonly_paths.items[i], err) < 0)
			return err->code;
	return mask_paths(spec, guard, err);
}

/* As runc and crun do: "ro" is for the container, not for who fills it. */
static int seal_devices(const struct spec *spec, int root_fd, struct error *err)
{
	for (size_t i = 0; i < spec->mounts.count; i++) {
		const struct spec_mount *mount = &spec->mounts.items[i];
		struct mount_options options;
		auto_close int fd = FD_NONE;

		if (!mounts_is_sealed_later(mount) || mount_options_parse(&mount->options, &options) < 0 || (options.flags & MS_RDONLY) == 0)
			continue;
		fd = open_in_root(root_fd, "/dev", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
		if (fd < 0 || kernel_mount_setattr(fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0) < 0)
			return fail_errno(err, errno, "mounts[%zu]: make '/dev' read-only", i);
	}
	return 0;
}

int rootfs_guard(const struct spec *spec, int root_fd, struct error *err)
{
	struct guard guard;
	int r = guard_init(&guard, spec, root_fd, err);

	if (r == 0)
		r = guard_paths(spec, &guard, err);
	if (guard.proc_fd >= 0)
		close(guard.proc_fd);
	if (r < 0 || seal_devices(spec, root_fd, err) < 0)
		return err->code;
	if (spec->root->is_readonly && kernel_mount_setattr(root_fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0) < 0)
		return fail_errno(err, errno, "make the rootfs read-only");
	return 0;
}

/* The old root ends up on top of the new one, from where it is taken off: no folder for it is needed. */
static int pivot(struct error *err)
{
	auto_close int old_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old_fd < 0 || kernel_pivot_root(".", ".") < 0)
		return fail_errno(err, errno, "pivot to the rootfs");
	/* "." is the new root here, whose mounts keep the propagation that they were given */
	if (fchdir(old_fd) < 0)
		return fail_errno(err, errno, "go to the old root");
	if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return fail_errno(err, errno, "cut the old root off from the host");
	if (umount2(".", MNT_DETACH) < 0)
		return fail_errno(err, errno, "leave the old root");
	return 0;
}

int rootfs_enter(const struct spec *spec, int root_fd, bool without_pivot, struct error *err)
{
	unsigned long propagation = rootfs_propagation(spec->linux_part.rootfs_propagation);
	int r;

	if (fchdir(root_fd) < 0)
		return fail_errno(err, errno, "enter the rootfs");
	r = without_pivot ? move_root(err) : pivot(err);
	if (r < 0)
		return r;
	if (chdir("/") < 0)
		return fail_errno(err, errno, "enter the new root");
	if (propagation != 0 && (propagation & (MS_SHARED | MS_UNBINDABLE)) != 0 &&
	    mount(NULL, "/", NULL, propagation, NULL) < 0)
		return fail_errno(err, errno, "set the propagation of the rootfs");
	return 0;
}

bool rootfs_is_namespaced_sysctl(const struct spec *spec, const char *name)
{
	if (text_is_one_of(name, ipc_sysctls) || text_has_prefix(name, "fs.mqueue."))
		return spec_find_namespace(spec, "ipc") != NULL;
	if (text_has_prefix(name, "net."))
		return spec_find_namespace(spec, "network") != NULL;
	if (strcmp(name, "kernel.domainname") == 0 || strcmp(name, "kernel.hostname") == 0)
		return spec_find_namespace(spec, "uts") != NULL;
	return text_has_prefix(name, "user.") && spec_find_namespace(spec, "user") != NULL;
}

static int check_sysctl(const struct spec *spec, const struct json_pair *entry, struct error *err)
{
	auto_free char *name = text_copy(entry->key);
	bool has_slashes = strchr(name, '/') != NULL;

	/* "net/ipv4/conf/eth0.1/x" is the other spelling, for names that contain dots */
	for (char *at = name; has_slashes && *at != '\0'; at++)
		*at = *at == '/' ? '.' : *at;
	if (strcmp(name, "kernel.hostname") == 0)
		return fail_because(err, EINVAL, "linux.sysctl: '%s' is not allowed as it conflicts with the OCI \"hostname\" field", entry->key);
	if (!rootfs_is_namespaced_sysctl(spec, name))
		return fail_because(err, EINVAL, "linux.sysctl: '%s' is not in a separate kernel namespace", entry->key);
	/* with slashes for dots or dots for slashes, a way up has two of them here */
	return strstr(name, "..") != NULL ? fail_because(err, EINVAL, "linux.sysctl: '%s' is not a name", entry->key) : 0;
}

int rootfs_check(const struct spec *spec, struct error *err)
{
	const char *word = spec->linux_part.rootfs_propagation;

	if (word != NULL && word[0] != '\0' && rootfs_propagation(word) == 0)
		return fail_because(err, EINVAL, "linux.rootfsPropagation: unknown word '%s'", word);
	for (size_t i = 0; i < spec->linux_part.sysctl.count; i++)
		if (check_sysctl(spec, &spec->linux_part.sysctl.items[i], err) < 0)
			return err->code;
	return 0;
}

static int set_sysctl(const struct spec *spec, const struct json_pair *entry, struct error *err)
{
	auto_free char *path = text_format("sys/%s", entry->key);
	bool has_slashes = strchr(entry->key, '/') != NULL;
	auto_close int fd = FD_NONE;

	if (check_sysctl(spec, entry, err) < 0)
		return err->code;
	for (char *at = path; !has_slashes && *at != '\0'; at++)
		*at = *at == '.' ? '/' : *at;
	if (procfs_open(path, PROCFS_OWN_MOUNTS, &fd, err) < 0 || procfs_write(fd, entry->value, err) < 0)
		return fail_while(err, "linux.sysctl '%s'", entry->key);
	return 0;
}

int rootfs_set_sysctls(const struct spec *spec, struct error *err)
{
	for (size_t i = 0; i < spec->linux_part.sysctl.count; i++)
		if (set_sysctl(spec, &spec->linux_part.sysctl.items[i], err) < 0)
			return err->code;
	return 0;
}
