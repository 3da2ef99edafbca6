/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP 4096

int file_read_fd(int fd, const char *name, size_t limit, char **ret_data, size_t *ret_size, struct error *err)
{
	auto_free char *data = NULL;
	size_t size = 0;
	size_t capacity = 0;

	for (;;) {
		if (capacity - size < READ_STEP) {
			char *larger = realloc(data, capacity += READ_STEP * (1 + capacity / READ_STEP));

			if (larger == NULL)
				return fail_errno(err, ENOMEM, "read '%s'", name);
			data = larger;
		}

		ssize_t got = read(fd, data + size, capacity - size - 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(err, errno, "read '%s'", name);
		if (got == 0)
			break;
		size += (size_t) got;
		if (size > limit)
			return fail_because(err, EFBIG, "read '%s': larger than the %zu bytes allowed", name, limit);
	}
	data[size] = '\0';
	*ret_data = take_ptr(&data);
	if (ret_size != NULL)
		*ret_size = size;
	return 0;
}

int file_read(int dir_fd, const char *path, size_t limit, char **ret_data, size_t *ret_size, struct error *err)
{
	auto_close int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return fail_errno(err, errno, "open '%s'", path);
	return file_read_fd(fd, path, limit, ret_data, ret_size, err);
}

int fd_write_full(int fd, const void *data, size_t size)
{
	const char *next = data;

	while (size > 0) {
		ssize_t written = write(fd, next, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		next += written;
		size -= (size_t) written;
	}
	return 0;
}

int fd_read_full(int fd, void *data, size_t size)
{
	char *next = data;

	while (size > 0) {
		ssize_t got = read(fd, next, size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EPIPE;
		next += got;
		size -= (size_t) got;
	}
	return 0;
}

static int sync_parent(int dir_fd, const char *path)
{
	auto_free char *folder = strdup(path);
	char *slash = folder != NULL ? strrchr(folder, '/') : NULL;

	if (folder == NULL)
		return -ENOMEM;
	if (slash != NULL)
		*(slash == folder ? slash + 1 : slash) = '\0';

	auto_close int parent_fd = openat(dir_fd, slash != NULL ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent_fd < 0)
		return -errno;
	/* EINVAL: the file system has nothing to make durable */
	return fsync(parent_fd) < 0 && errno != EINVAL ? -errno : 0;
}

static int write_new(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, bool durable)
{
	auto_close int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, data, size);
	if (r == 0 && durable && fsync(fd) < 0 && errno != EINVAL)
		r = -errno;
	return r;
}

static int replace(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, bool durable,
		   struct error *err)
{
	char temporary[4096];
	int r;

	if (snprintf(temporary, sizeof(temporary), "%s.%d.new", path, (int) getpid()) >= (int) sizeof(temporary))
		return fail_errno(err, ENAMETOOLONG, "write '%s'", path);
	r = write_new(dir_fd, temporary, data, size, mode, durable);
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, path) < 0)
		r = -errno;
	if (r < 0) {
		(void) unlinkat(dir_fd, temporary, 0);
		return fail_errno(err, -r, "write '%s'", path);
	}
	r = durable ? sync_parent(dir_fd, path) : 0;
	return r < 0 ? fail_errno(err, -r, "make '%s' durable", path) : 0;
}

int file_replace(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, struct error *err)
{
	return replace(dir_fd, path, data, size, mode, true, err);
}

int file_replace_fast(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, struct error *err)
{
	return replace(dir_fd, path, data, size, mode, false, err);
}

int file_lock_fd(int fd, bool waits)
{
	struct flock request = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	while (fcntl(fd, waits ? F_OFD_SETLKW : F_OFD_SETLK, &request) < 0) {
		if (errno == EACCES)
			return -EAGAIN;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

bool file_is_locked(int fd)
{
	struct flock request = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_GETLK, &request) == 0 && request.l_type != F_UNLCK;
}

int file_lock(const char *path, int *ret_fd, struct error *err)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return fail_errno(err, errno, "open '%s'", path);
	r = file_lock_fd(fd, false);
	if (r < 0)
		return r == -EAGAIN ? fail_because(err, EBUSY, "'%s' is locked by another process", path)
				    : fail_errno(err, -r, "lock '%s'", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int file_set(int dir_fd, const char *path, const char *text, struct error *err)
{
	auto_close int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return fail_errno(err, errno, "open '%s'", path);
	do {
		written = write(fd, text, strlen(text));
	} while (written < 0 && errno == EINTR);
	if (written < 0)
		return fail_errno(err, errno, "write '%s' to '%s'", text, path);
	return 0;
}

int dir_make_all(const char *path, mode_t mode, struct error *err)
{
	auto_free char *prefix = strdup(path);

	if (prefix == NULL)
		return fail_errno(err, ENOMEM, "make folder '%s'", path);
	for (char *slash = prefix + 1;; slash++) {
		if (*slash != '/' && *slash != '\0')
			continue;

		char kept = *slash;

		*slash = '\0';
		if (mkdir(prefix, mode) < 0 && errno != EEXIST)
			return fail_errno(err, errno, "make folder '%s'", prefix);
		*slash = kept;
		if (kept == '\0')
			return 0;
	}
}

static int remove_entry(int dir_fd, const char *name, dev_t device, struct error *err);

static int remove_entries(int dir_fd, dev_t device, struct error *err)
{
	DIR *entries = fdopendir(dir_fd); /* takes dir_fd */
	int r = 0;

	if (entries == NULL) {
		r = fail_errno(err, errno, "list folder");
		(void) close(dir_fd);
		return r;
	}
	for (struct dirent *entry = readdir(entries); r == 0 && entry != NULL; entry = readdir(entries)) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_entry(dirfd(entries), entry->d_name, device, err);
	}
	(void) closedir(entries);
	return r;
}

static int remove_entry(int dir_fd, const char *name, dev_t device, struct error *err)
{
	auto_close int fd = FD_NONE;
	struct stat info;
	int r;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return fail_errno(err, errno, "remove '%s'", name);

	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) < 0)
		return fail_errno(err, errno, "remove '%s'", name);
	if (info.st_dev != device)
		return fail_because(err, EXDEV, "remove '%s': something is mounted there", name);
	r = remove_entries(take_fd(&fd), device, err);
	if (r < 0)
		return r;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return fail_errno(err, errno, "remove '%s'", name);
	return 0;
}

int dir_remove_all(int dir_fd, const char *path, struct error *err)
{
	struct stat info;

	if (fstatat(dir_fd, path, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail_errno(err, errno, "remove '%s'", path);
	return remove_entry(dir_fd, path, info.st_dev, err);
}

void dir_unmount_all(const char *path)
{
	DIR *entries = opendir(path);

	for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
		auto_free char *place = text_format("%s/%s", path, entry->d_name);

		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void) umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	if (entries != NULL)
		(void) closedir(entries);
}

int open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
	for (;;) {
		int fd = kernel_openat2(root_fd, path, (uint64_t) (flags | O_CLOEXEC), mode,
					RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

		/* EAGAIN: a rename raced with "..", the kernel asks to try again */
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			return fd;
	}
}

bool path_exists(int dir_fd, const char *path)
{
	return faccessat(dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

void dir_forget_oldest(int dir_fd, const char *prefix, size_t most, bool (*may_go)(int dir_fd, const char *name))
{
	auto_close int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	char name[NAME_MAX + 1] = "";
	struct timespec oldest = {0};
	struct dirent *entry;
	size_t count = 0;

	if (folder == NULL)
		return;
	(void) take_fd(&fd);
	while ((entry = readdir(folder)) != NULL) {
		struct stat status;

		if (entry->d_name[0] == '.' || !text_has_prefix(entry->d_name, prefix) ||
		    fstatat(dir_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		count++;
		if ((name[0] == '\0' || is_before(&status.st_mtim, &oldest)) && (may_go == NULL || may_go(dir_fd, entry->d_name))) {
			oldest = status.st_mtim;
			(void) text_fit(name, sizeof(name), "%s", entry->d_name);
		}
	}
	(void) closedir(folder);
	if (count > most && name[0] != '\0')
		(void) unlinkat(dir_fd, name, 0);
}
