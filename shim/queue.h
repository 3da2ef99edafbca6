/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read from a container's pipes and is not in its log yet, in two files of the run directory (docs/state-format.md):
 * "spill" holds the bytes in chunks, "stdio" one page that says which of them count. Neither is lost with the shim.
 *
 * The kernel itself moves bytes from the pipe into "spill" and, in the same call, the position in the page up to which they are
 * there: a shim that is killed at any moment has either not read them, or its successor finds them.
 *
 * Output that goes to a pipe instead of a log is moved there by the kernel in the same way.
 *
 * Positions only grow until the queue is empty; what is behind its oldest chunk is given back to the file system. Without a
 * usable run directory memory takes the files' place, and a killed shim takes with it what waits in there.
 */
#pragma once

#include "state/stdio_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define QUEUE_CHUNK_MAX 16384

struct queue {
	int dir_fd; /* the run directory; not owned */
	int fd;     /* of the bytes; FD_NONE: not needed yet */
	bool is_lent; /* pipes refer to its pages: nothing is ever written over */
	struct queue_page *page; /* NULL: not needed yet */
	uint64_t given_back;     /* so far the file has nothing any more */
	uint64_t reached;        /* so far it had something since it was empty */
	struct queue_state now;  /* what queue_commit() makes true */
};

/* Takes over what a predecessor left, if anything. An intent is left for the caller, who knows the log. False: it is not understood,
 * because another version wrote it or it is damaged; it was set aside under names with QUEUE_ASIDE, and counting began anew.
 * to_pipes: what is in it goes to queue_deliver(). */
bool queue_init(struct queue *self, int dir_fd, bool to_pipes);
#define QUEUE_ASIDE ".unknown"
/* Whether queue_init() would take over all there is. */
bool queue_is_understood(int dir_fd);
/* Counting began anew at some time: nobody knows the totals. */
bool queue_is_partial(const struct queue *self);
void queue_deinit(struct queue *self);
/* Makes now what a successor finds. */
void queue_commit(struct queue *self);

/* Bytes that wait. */
uint64_t queue_pending(const struct queue *self);
static inline bool queue_is_empty(const struct queue *self)
{
	return self->now.head == self->now.tail;
}

/* Where output comes from. What is no pipe passes through our hands: a killed shim loses that. */
struct queue_source {
	int fd; /* non-blocking */
	bool is_pipe;
	bool is_error; /* stderr */
};

/* Reads what is there, at most QUEUE_CHUNK_MAX, as the newest chunk; drops the oldest ones beyond limit, which is larger than
 * two chunks. How much, 0 at the end, or -errno of the source. What can't be kept anywhere is read and dropped. */
ssize_t queue_read_from(struct queue *self, const struct queue_source *source, uint64_t limit);
/* The newest chunk's bytes, as long as nothing was taken from the queue since it came. Returns how many. */
size_t queue_copy_newest(struct queue *self, uint8_t bytes[static QUEUE_CHUNK_MAX]);

/* What is not consumed of the oldest chunk; *ret_chunk is that. Returns how many bytes, 0: the queue is empty. */
size_t queue_peek(struct queue *self, uint8_t bytes[static QUEUE_CHUNK_MAX], struct queue_chunk *ret_chunk);
/* The intent came true. Not committed. */
void queue_fulfil(struct queue *self);

/* In place of a pipe. */
enum {
	PIPE_UNWANTED = -1, /* nobody asked for this stream */
	PIPE_LOST = -2,
};
/* Moves the start of the oldest chunk into the pipe of its stream, stdout's or stderr's. How much, 0: the queue is empty, -EAGAIN:
 * the pipe is full, -ENXIO: it is lost. Committed. */
ssize_t queue_deliver(struct queue *self, const int pipes[static 2]);
/* Moves a line into a pipe that says how much was dropped. 0, or as above. */
int queue_deliver_mark(struct queue *self, int pipe, const char *line, size_t size);
/* The pipe that queue_deliver() will need next. */
int queue_next_pipe(struct queue *self, const int pipes[static 2]);
