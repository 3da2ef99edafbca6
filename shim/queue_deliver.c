/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the queue into pipes. As when it is filled, the kernel says how far it has come, whoever is killed meanwhile.
 */
#include "base/fault.h"
#include "base/owned.h"
#include "shim/queue_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static bool ends_line(const struct queue *self, int64_t end)
{
	char last = '\0';

	return pread(self->fd, &last, 1, (off_t) (end - 1)) == 1 && last == '\n';
}

/* So much of the chunk is in the pipe as the kernel says, also when whoever began it did not live to hear it. */
static void finish_chunk(struct queue *self)
{
	struct queue_state *now = &self->now;
	struct queue_chunk chunk;
	int64_t got;

	if (!queue_oldest_chunk(self, &chunk))
		return;
	got = self->page->delivered - (int64_t) (chunk.start + QUEUE_HEADER_SIZE + now->consumed);
	if (got <= 0 || got > (int64_t) (chunk.size - now->consumed))
		return;
	now->is_mid_line = !ends_line(self, self->page->delivered);
	now->written += (uint64_t) got;
	now->consumed += (uint64_t) got;
	if (now->consumed == chunk.size)
		queue_step(self, &chunk);
}

void queue_finish_delivering(struct queue *self)
{
	if (self->now.delivering == DELIVERING_CHUNK)
		finish_chunk(self);
	else if (self->page->delivered > 0) { /* a mark: all of it or nothing */
		self->now.unmarked = 0;
		self->now.is_mid_line = false;
	}
	self->now.delivering = DELIVERING_NOTHING;
}

/* From `delivered` in the file on. */
static ssize_t deliver(struct queue *self, enum queue_delivering what, int file_fd, int pipe, size_t size)
{
	ssize_t got = (ssize_t) size;

	self->now.delivering = what;
	queue_commit(self);
	if (pipe == PIPE_UNWANTED)
		self->page->delivered += got;
	else
		got = splice(file_fd, &self->page->delivered, pipe, NULL, size, SPLICE_F_NONBLOCK);
	got = got < 0 ? -errno : got;
	fault_point("shim.output-delivered");
	queue_finish_delivering(self);
	queue_commit(self);
	return got;
}

ssize_t queue_deliver(struct queue *self, const int pipes[static 2])
{
	struct queue_chunk chunk;
	ssize_t got;

	if (queue_is_empty(self))
		return 0;
	if (!queue_oldest_chunk(self, &chunk)) {
		queue_lose_all(self);
		queue_commit(self);
		return 0;
	}
	if (pipes[chunk.is_error] == PIPE_LOST)
		return -ENXIO;
	self->page->delivered = (int64_t) (chunk.start + QUEUE_HEADER_SIZE + self->now.consumed);
	got = deliver(self, DELIVERING_CHUNK, self->fd, pipes[chunk.is_error], chunk.size - (size_t) self->now.consumed);
	return got == 0 ? -EIO : got;
}

int queue_next_pipe(struct queue *self, const int pipes[static 2])
{
	struct queue_chunk chunk;

	return !queue_is_empty(self) && queue_oldest_chunk(self, &chunk) ? pipes[chunk.is_error] : PIPE_UNWANTED;
}

int queue_deliver_mark(struct queue *self, int pipe, const char *line, size_t size)
{
	auto_close int fd = memfd_create("hydra-mark", MFD_CLOEXEC);
	ssize_t got;

	if (pipe == PIPE_LOST)
		return -ENXIO;
	if (fd < 0 || pwrite(fd, line, size, 0) != (ssize_t) size)
		return -ENOMEM;
	self->page->delivered = 0;
	got = deliver(self, DELIVERING_MARK, fd, pipe, size);
	return got > 0 ? 0 : got < 0 ? (int) got : -EIO;
}
