/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recursive copy that never follows a link and never leaves the folder it was given.
 */
#include "runtime/copy_up.h"

#include "base/owned.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define DEPTH_MAX 64

static int copy_folder(int from_fd, int to_fd, int depth, struct error *err);

static int copy_owner(int to_fd, const struct stat *status, struct error *err)
{
	const struct timespec times[2] = {status->st_atim, status->st_mtim};

	if (fchown(to_fd, status->st_uid, status->st_gid) < 0 || fchmod(to_fd, status->st_mode & 07777) < 0 ||
	    futimens(to_fd, times) < 0)
		return fail_errno(err, errno, "copy the owner of a file");
	return 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *status, struct error *err)
{
	auto_close int from_fd = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int to_fd = FD_NONE;
	ssize_t size;

	if (from_fd < 0)
		return fail_errno(err, errno, "open '%s'", name);
	to_fd = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to_fd < 0)
		return fail_errno(err, errno, "make '%s'", name);
	do
		size = sendfile(to_fd, from_fd, NULL, 1U << 30);
	while (size > 0);
	if (size < 0)
		return fail_errno(err, errno, "copy '%s'", name);
	return copy_owner(to_fd, status, err);
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *status, struct error *err)
{
	char target[PATH_MAX];
	ssize_t size = readlinkat(from_dir, name, target, sizeof(target) - 1);

	if (size < 0)
		return fail_errno(err, errno, "read link '%s'", name);
	target[size] = '\0';
	if (symlinkat(target, to_dir, name) < 0 ||
	    fchownat(to_dir, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(err, errno, "make link '%s'", name);
	return 0;
}

static int copy_subfolder(int from_dir, int to_dir, const char *name, int depth, struct error *err)
{
	auto_close int from_fd = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int to_fd = FD_NONE;

	if (from_fd < 0)
		return fail_errno(err, errno, "open '%s'", name);
	if (mkdirat(to_dir, name, 0700) < 0)
		return fail_errno(err, errno, "make '%s'", name);
	to_fd = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to_fd < 0)
		return fail_errno(err, errno, "open '%s'", name);
	return copy_folder(from_fd, to_fd, depth + 1, err);
}

static int copy_entry(int from_fd, int to_fd, const char *name, int depth, struct error *err)
{
	struct stat status;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (fstatat(from_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(err, errno, "look at '%s'", name);
	if (S_ISDIR(status.st_mode))
		return copy_subfolder(from_fd, to_fd, name, depth, err);
	if (S_ISREG(status.st_mode))
		return copy_file(from_fd, to_fd, name, &status, err);
	if (S_ISLNK(status.st_mode))
		return copy_link(from_fd, to_fd, name, &status, err);
	return 0;
}

static int copy_folder(int from_fd, int to_fd, int depth, struct error *err)
{
	DIR *folder;
	int list_fd = depth > DEPTH_MAX ? -1 : fcntl(from_fd, F_DUPFD_CLOEXEC, 3);
	struct stat status;
	int r = 0;

	if (depth > DEPTH_MAX)
		return fail_because(err, ELOOP, "folders are nested more than %d deep", DEPTH_MAX);
	if (list_fd < 0 || fstat(from_fd, &status) < 0)
		return fail_errno(err, errno, "open a folder");
	folder = fdopendir(list_fd);
	if (folder == NULL) {
		close(list_fd);
		return fail_errno(err, ENOMEM, "list a folder");
	}
	for (struct dirent *entry = readdir(folder); entry != NULL && r == 0; entry = readdir(folder))
		r = copy_entry(from_fd, to_fd, entry->d_name, depth, err);
	closedir(folder);
	return r == 0 ? copy_owner(to_fd, &status, err) : r;
}

int copy_up_folder(int from_fd, int to_fd, struct error *err)
{
	return copy_folder(from_fd, to_fd, 0, err);
}
