/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/procfs.h"

#include "base/kernel.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define ROOT_INODE 1 /* of each procfs, PROC_ROOT_INO of the kernel */

bool procfs_has(int fd)
{
	struct statfs filesystem;

	return fstatfs(fd, &filesystem) == 0 && filesystem.f_type == PROC_SUPER_MAGIC;
}

static int open_root(int *ret_fd, struct stat *ret_status, struct error *err)
{
	auto_close int fd = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, ret_status) < 0)
		return fail_errno(err, errno, "open /proc");
	if (!procfs_has(fd) || ret_status->st_ino != ROOT_INODE)
		return fail_because(err, EINVAL, "/proc is not the root of a procfs");
	*ret_fd = take_fd(&fd);
	return 0;
}

int procfs_open(const char *path, enum procfs_mounts mounts, int *ret_fd, struct error *err)
{
	uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (mounts == PROCFS_NO_MOUNTS ? RESOLVE_NO_XDEV : 0);
	auto_close int root_fd = FD_NONE;
	auto_close int fd = FD_NONE;
	struct stat root, status;

	if (open_root(&root_fd, &root, err) < 0)
		return err->code;
	fd = kernel_openat2(root_fd, path, O_WRONLY | O_CLOEXEC, 0, resolve);
	if (fd < 0)
		return fail_errno(err, errno, "open '/proc/%s'", path);
	if (fstat(fd, &status) < 0)
		return fail_errno(err, errno, "look at '/proc/%s'", path);
	if (!procfs_has(fd) || status.st_dev != root.st_dev)
		return fail_because(err, EINVAL, "'/proc/%s' is not a file of this procfs: something is mounted there", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int procfs_write(int fd, const char *text, struct error *err)
{
	ssize_t written;

	do {
		written = write(fd, text, strlen(text));
	} while (written < 0 && errno == EINTR);
	return written < 0 ? fail_errno(err, errno, "write '%s'", text) : 0;
}
