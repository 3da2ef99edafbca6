/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/log_file.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_SIZE    32768
#define PREFIX_SIZE 64

static int open_file(struct log_file *self, struct error *err)
{
	struct stat info;

	self->fd = open(self->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (self->fd < 0 || fstat(self->fd, &info) < 0)
		return fail_errno(err, errno, "open the log '%s'", self->path);
	self->size = (uint64_t) info.st_size;
	return 0;
}

int log_file_open(struct log_file **ret_self, const char *path, uint64_t max_size, uint32_t max_files, struct error *err)
{
	auto_free char *folder = text_copy(path);
	struct log_file *self = calloc(1, sizeof(*self));
	int r;

	if (self == NULL)
		return fail_errno(err, ENOMEM, "open the log '%s'", path);
	self->path = text_copy(path);
	self->fd = FD_NONE;
	self->max_size = max_size == 0 ? LOG_MAX_SIZE_DEFAULT : max_size < LOG_MAX_SIZE_LEAST ? LOG_MAX_SIZE_LEAST : max_size;
	self->max_files = max_files > 0 ? max_files : LOG_MAX_FILES_DEFAULT;
	*strrchr(folder, '/') = '\0';
	r = dir_make_all(folder, 0755, err);
	if (r == 0)
		r = open_file(self, err);
	if (r < 0) {
		log_file_free(self);
		return r;
	}
	*ret_self = self;
	return 0;
}

void log_file_free(struct log_file *self)
{
	if (self == NULL)
		return;
	owned_fd_release(&self->fd);
	free(self->path);
	free(self);
}

size_t log_format_cri(uint64_t time_ns, const char *stream, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
		      size_t *ret_taken)
{
	char time_text[CLOCK_TEXT_SIZE];
	char prefix[PREFIX_SIZE];
	size_t prefix_size;
	size_t used = 0;
	size_t taken = 0;

	clock_format(time_ns, time_text);
	prefix_size = (size_t) snprintf(prefix, sizeof(prefix), "%s %s F ", time_text, stream);
	while (taken < size) {
		const uint8_t *end = memchr(data + taken, '\n', size - taken);
		size_t line = end != NULL ? (size_t) (end - data) - taken : size - taken;
		size_t room = out_size - used;

		if (room < prefix_size + 2)
			break;
		if (line > room - prefix_size - 1) {
			line = room - prefix_size - 1;
			end = NULL;
		}
		memcpy(out + used, prefix, prefix_size);
		out[used + prefix_size - 2] = end != NULL ? 'F' : 'P';
		memcpy(out + used + prefix_size, data + taken, line);
		used += prefix_size + line;
		out[used++] = '\n';
		taken += line + (end != NULL);
	}
	*ret_taken = taken;
	return used;
}

static void rotate(struct log_file *self)
{
	struct error ignored;

	for (uint32_t number = self->max_files - 1; number > 0; number--) {
		auto_free char *to = text_format("%s.%u", self->path, number);
		auto_free char *from = number > 1 ? text_format("%s.%u", self->path, number - 1) : text_copy(self->path);

		(void) rename(from, to);
	}
	if (self->max_files == 1)
		(void) unlink(self->path);
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
	(void) open_file(self, &ignored);
}

/* Whole or not at all: a part that a full disk let through is taken back. */
static bool append(struct log_file *self, const uint8_t *bytes, size_t size)
{
	struct error ignored;

	if (self->fd < 0 && open_file(self, &ignored) < 0)
		return false;
	if (self->size > 0 && self->size + size > self->max_size)
		rotate(self);
	if (self->fd < 0)
		return false;
	if (fd_write_full(self->fd, bytes, size) < 0) {
		(void) !ftruncate(self->fd, (off_t) self->size);
		return false;
	}
	self->size += size;
	return true;
}

static void mark_gap(struct log_file *self)
{
	char line[160];
	char time_text[CLOCK_TEXT_SIZE];

	clock_format(clock_realtime_ns(), time_text);
	(void) snprintf(line, sizeof(line), "%s stderr F [hydra: %llu bytes of output could not be written here]\n", time_text,
			(unsigned long long) self->dropped);
	self->must_mark_gap = !append(self, (const uint8_t *) line, strlen(line));
}

void log_file_write(struct log_file *self, const char *stream, const uint8_t *data, size_t size)
{
	static uint8_t out[OUT_SIZE];
	uint64_t time_ns = clock_realtime_ns();
	/* what is written at once must fit a file */
	size_t out_size = self->max_size < sizeof(out) ? (size_t) self->max_size : sizeof(out);

	if (self->must_mark_gap)
		mark_gap(self);
	while (size > 0) {
		size_t taken;
		size_t used = log_format_cri(time_ns, stream, data, size, out, out_size, &taken);

		if (append(self, out, used)) {
			self->written += taken;
		} else {
			self->dropped += taken;
			self->must_mark_gap = true;
		}
		data += taken;
		size -= taken;
	}
}
