/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/image_owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/text.h"

#define PARENT    "parent"
#define DEPTH_MAX 64

struct change {
	uid_t owner;
	bool is_shared; /* by the owner and our group */
};

static int change_file(int images_fd, const char *name, const struct change *change, struct error *err)
{
	auto_close int fd = openat(images_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fchown(fd, change->owner, (gid_t) -1) < 0 || fchmod(fd, change->is_shared ? 0640 : 0600) < 0)
		return fail_errno(err, errno, "share image %s with the container's root", name);
	return 0;
}

static int change_files(int images_fd, const struct change *change, struct error *err)
{
	int fd = openat(images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	int r = 0;

	if (folder == NULL)
		return fail_errno(err, errno, "list the images");
	for (struct dirent *entry = readdir(folder); entry != NULL && r == 0; entry = readdir(folder))
		if (text_has_suffix(entry->d_name, ".img"))
			r = change_file(images_fd, entry->d_name, change, err);
	closedir(folder);
	return r;
}

static int change_folder(int images_fd, const struct change *change, int depth, struct error *err)
{
	auto_close int parent_fd = FD_NONE;
	struct stat status;

	if (fstat(images_fd, &status) < 0 || fchown(images_fd, change->owner, (gid_t) -1) < 0 ||
	    fchmod(images_fd, (status.st_mode & 07777) | 0050) < 0)
		return fail_errno(err, errno, "share the images with the container's root");
	if (change_files(images_fd, change, err) < 0)
		return err->code;
	parent_fd = openat(images_fd, PARENT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return parent_fd >= 0 && depth < DEPTH_MAX ? change_folder(parent_fd, change, depth + 1, err) : 0;
}

int image_owner_share(int images_fd, uid_t owner, struct error *err)
{
	return change_folder(images_fd, &(struct change){.owner = owner, .is_shared = true}, 0, err);
}

int image_owner_restore(int images_fd, struct error *err)
{
	return change_folder(images_fd, &(struct change){.owner = geteuid()}, 0, err);
}
