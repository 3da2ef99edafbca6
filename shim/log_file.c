/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/log_file.h"

#include "base/file.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_PATH_MAX (PATH_MAX - 32) /* with number and suffix */

static uint64_t with_default(uint64_t value, uint64_t least, uint64_t if_none)
{
	return value == 0 ? if_none : value < least ? least : value;
}

int log_file_init(struct log_file *self, const Hydra__V1__LogConfig *config)
{
	*self = (struct log_file){.fd = FD_NONE, .path = strdup(config->path), .format = config->format};
	if (self->format == HYDRA__V1__LOG_FORMAT__LOG_FORMAT_DEFAULT)
		self->format = HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI;
	self->max_size = with_default(config->max_size_bytes, LOG_MAX_SIZE_LEAST, LOG_MAX_SIZE_DEFAULT);
	self->max_files = (uint32_t) with_default(config->max_files, 1, LOG_MAX_FILES_DEFAULT);
	if (self->path == NULL)
		return -ENOMEM;
	return config->path[0] != '/' ? -EINVAL : strlen(config->path) > LOG_PATH_MAX ? -ENAMETOOLONG : 0;
}

static void close_file(struct log_file *self)
{
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
}

void log_file_deinit(struct log_file *self)
{
	close_file(self);
	free(self->path);
	self->path = NULL;
}

bool log_file_is_misnamed(int error)
{
	static const int errors[] = {ELOOP, EISDIR, ENOTDIR, ENAMETOOLONG, ENXIO, EINVAL};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (error == -errors[i])
			return true;
	}
	return false;
}

static int make_folder(const char *path)
{
	char folder[PATH_MAX];
	struct error ignored;

	(void) snprintf(folder, sizeof(folder), "%.*s", (int) (strrchr(path, '/') - path), path);
	return dir_make_all(folder, 0755, &ignored);
}

/* Not through a link, and without waiting for a FIFO's reader: others may write to the folder. */
int log_file_open(struct log_file *self)
{
	static const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	auto_close int fd = self->fd < 0 ? open(self->path, flags, 0640) : FD_NONE;
	struct stat info;

	if (self->fd >= 0)
		return 0;
	if (fd < 0 && errno == ENOENT && make_folder(self->path) == 0)
		fd = open(self->path, flags, 0640);
	if (fd < 0 || fstat(fd, &info) < 0)
		return -errno;
	if (!S_ISREG(info.st_mode))
		return -EINVAL;
	self->inode = info.st_ino;
	self->size = (uint64_t) info.st_size;
	self->fd = take_fd(&fd);
	return 0;
}

/* True when any rotated file has the number. */
static bool number_is_used(const struct log_file *self, unsigned number)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < log_file_format_count; i++) {
		if (log_rotated_path(path, sizeof(path), self->path, number, log_file_formats[i]) && path_exists(AT_FDCWD, path))
			return true;
	}
	return false;
}

/* Moves what has the number to the next one; removes it when it would be one too many. */
static int shift(const struct log_file *self, unsigned number)
{
	char from[PATH_MAX], to[PATH_MAX];

	for (size_t i = 0; i < log_file_format_count; i++) {
		int r;

		if (!log_rotated_path(from, sizeof(from), self->path, number, log_file_formats[i]) ||
		    !log_rotated_path(to, sizeof(to), self->path, number + 1, log_file_formats[i]))
			return -ENAMETOOLONG;
		r = number + 1 < self->max_files ? rename(from, to) : unlink(from);
		if (r < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

/* Only what is in the way moves, so that trying again after a failure half-way loses nothing. */
int log_file_retire(struct log_file *self)
{
	char youngest[PATH_MAX];
	unsigned free_number = 1;
	int r = 0;

	if (log_format_suffix(self->format) == NULL)
		return 0;
	/* the limit was higher once */
	for (unsigned number = self->max_files; number_is_used(self, number) && r == 0; number++)
		r = shift(self, number);
	while (free_number < self->max_files && number_is_used(self, free_number))
		free_number++;
	for (unsigned number = free_number; number-- > 1 && r == 0;)
		r = shift(self, number);
	if (r < 0)
		return r;
	if (!log_rotated_path(youngest, sizeof(youngest), self->path, 1, self->format))
		return -ENAMETOOLONG;
	if ((self->max_files > 1 ? rename(self->path, youngest) : unlink(self->path)) < 0 && errno != ENOENT)
		return -errno;
	close_file(self);
	return 0;
}

/* Deleted, or cut by somebody: what counts is what is there. */
static void look_at_file(struct log_file *self)
{
	struct stat info;

	if (fstat(self->fd, &info) < 0 || info.st_nlink == 0)
		close_file(self);
	else
		self->size = (uint64_t) info.st_size;
}

int log_file_prepare(struct log_file *self, size_t size)
{
	int r = 0;

	if (self->fd >= 0)
		look_at_file(self);
	if (self->fd < 0)
		r = log_file_open(self);
	if (r == 0 && self->size > 0 && self->size + size > self->max_size) {
		r = log_file_retire(self);
		if (r == 0)
			r = log_file_open(self);
	}
	return r;
}

int log_file_append(struct log_file *self, const uint8_t *bytes, size_t size)
{
	int r = fd_write_full(self->fd, bytes, size);

	if (r < 0) {
		(void) !ftruncate(self->fd, (off_t) self->size);
		return r;
	}
	self->size += size;
	return 0;
}
