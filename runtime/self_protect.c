/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that becomes part of a container can be caught there as /proc/PID/exe, or be made to execute
 * /proc/self/exe; either gives a descriptor of the runtime's file, which the container's root could write to later.
 *
 * Therefore the program runs from a private, read-only clone of its mount, made without copying anything. That
 * clone is attached nowhere, so there is no mount that could be made writable again. Where mounts cannot be cloned
 * (no privilege), it runs from a sealed copy in memory.
 */
#include "runtime/self_protect.h"

#include "base/kernel.h"
#include "base/owned.h"

#include <errno.h>
#include <stdbool.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define SELF  "/proc/self/exe"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int open_clone(void)
{
	int fd = kernel_open_tree(AT_FDCWD, SELF, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd >= 0 && kernel_mount_setattr(fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int copy_to_memory(void)
{
	auto_close int from_fd = open(SELF, O_RDONLY | O_CLOEXEC);
	auto_close int fd = memfd_create("hydra", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	struct stat status;
	ssize_t size = 1;

	if (from_fd < 0 || fd < 0 || fstat(from_fd, &status) < 0)
		return -1;
	for (off_t done = 0; done < status.st_size && size > 0; done += size)
		size = sendfile(fd, from_fd, NULL, (size_t) (status.st_size - done));
	if (size <= 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -1;
	return take_fd(&fd);
}

static bool is_protected(void)
{
	auto_close int fd = open(SELF, O_RDONLY | O_CLOEXEC);
	struct statvfs filesystem;

	if (fd < 0)
		return false;
	if (fcntl(fd, F_GET_SEALS) == SEALS)
		return true;
	/* also true for a program on a medium that is read-only for everybody: equally good */
	return fstatvfs(fd, &filesystem) == 0 && (filesystem.f_flag & ST_RDONLY) != 0;
}

int self_protect(char **argv, struct error *err)
{
	auto_close int fd = FD_NONE;

	if (is_protected())
		return 0;
	fd = open_clone();
	if (fd < 0)
		fd = copy_to_memory();
	if (fd < 0)
		return fail_errno(err, errno, "make a protected copy of this program");
	(void) execveat(fd, "", argv, environ, AT_EMPTY_PATH);
	return fail_errno(err, errno, "execute a protected copy of this program");
}
