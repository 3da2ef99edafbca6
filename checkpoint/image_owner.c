/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images may come from somebody else. What is changed is in their folder, is no link, and has no other name.
 */
#include "checkpoint/image_owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/text.h"

static int change_file(int images_fd, const char *name, uid_t owner, mode_t mode, struct error *err)
{
	auto_close int fd = openat(images_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "open image %s", name);
	if (!S_ISREG(status.st_mode) || status.st_nlink != 1)
		return fail_because(err, EPERM, "image %s is no file of its own", name);
	if (fchown(fd, owner, (gid_t) -1) < 0 || fchmod(fd, mode) < 0)
		return fail_errno(err, errno, "share image %s with the container's root", name);
	return 0;
}

static int change_all(int images_fd, uid_t owner, mode_t mode, struct error *err)
{
	int fd = openat(images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	int r = 0;

	if (folder == NULL)
		return fail_errno(err, errno, "list the images");
	/* all that can be, so that nothing stays shared because of one that never was */
	for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
		if (text_has_suffix(entry->d_name, ".img") && change_file(images_fd, entry->d_name, owner, mode, err) < 0)
			r = err->code;
	closedir(folder);
	return fchown(images_fd, owner, (gid_t) -1) < 0 ? fail_errno(err, errno, "share the images with the container's root") : r;
}

int image_owner_share(int images_fd, uid_t owner, struct error *err)
{
	struct stat status;

	if (fstat(images_fd, &status) < 0 || fchmod(images_fd, (status.st_mode & 07777) | 0050) < 0)
		return fail_errno(err, errno, "share the images with the container's root");
	return change_all(images_fd, owner, 0640, err);
}

int image_owner_restore(int images_fd, struct error *err)
{
	return change_all(images_fd, geteuid(), 0600, err);
}
