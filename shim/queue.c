/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/queue.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/owned.h"
#include "shim/queue_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES_NAME   "spill"
#define KEPT_SIZE    65536 /* what an empty queue may leave in its file; also the step in which the file is given back */
#define HEADER_SIZE  QUEUE_HEADER_SIZE
#define FAR_AWAY     (1LL << 40)

struct chunk_header {
	uint64_t time_ns;
	uint32_t size;
	uint32_t is_error;
};
_Static_assert(sizeof(struct chunk_header) == HEADER_SIZE, "headers stand at multiples of their size");

static uint64_t rounded(uint64_t size)
{
	return (size + HEADER_SIZE - 1) & ~(uint64_t) (HEADER_SIZE - 1);
}

static uint64_t chunk_end(const struct queue_chunk *chunk)
{
	return chunk->start + HEADER_SIZE + rounded(chunk->size);
}

uint64_t queue_pending(const struct queue *self)
{
	return self->now.read - self->now.written - self->now.dropped;
}

/* What no state refers to any more goes back to the file system. */
static void give_back(struct queue *self)
{
	uint64_t until = self->now.tail & ~(uint64_t) (KEPT_SIZE - 1);

	if (self->now.head > self->reached)
		self->reached = self->now.head;
	if (queue_is_empty(self) && self->reached > KEPT_SIZE && !self->is_lent) {
		(void) !ftruncate(self->fd, 0);
		self->given_back = self->reached = 0;
	} else if (until > self->given_back) {
		(void) fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) self->given_back,
				 (off_t) (until - self->given_back));
		self->given_back = until;
	}
}

void queue_commit(struct queue *self)
{
	uint32_t other;

	if (self->page == NULL)
		return;
	other = 1 - (atomic_load_explicit(&self->page->current, memory_order_relaxed) & 1);
	self->page->states[other] = self->now;
	atomic_store_explicit(&self->page->current, other, memory_order_release);
	give_back(self);
}

static void reset(struct queue *self)
{
	uint64_t start = self->is_lent ? (self->now.head + STDIO_PAGE_SIZE - 1) & ~(uint64_t) (STDIO_PAGE_SIZE - 1) : 0;

	self->now.head = self->now.tail = start;
	self->now.consumed = 0;
}

static void count_dropped(struct queue *self, uint64_t size)
{
	self->now.dropped += size;
	self->now.unmarked += size;
}

void queue_lose_all(struct queue *self)
{
	count_dropped(self, queue_pending(self) - self->now.rests[0].size - self->now.rests[1].size);
	reset(self);
}

static struct queue_page *map_page(int fd)
{
	static const uint8_t zeros[STDIO_PAGE_SIZE];
	struct stat info;
	void *page;

	/* written, not only made larger: touching a page that the file system has no room for would kill us */
	if (fd >= 0 && (fstat(fd, &info) < 0 || (info.st_size < STDIO_PAGE_SIZE && pwrite(fd, zeros, STDIO_PAGE_SIZE, 0) != STDIO_PAGE_SIZE)))
		return NULL;
	page = mmap(NULL, STDIO_PAGE_SIZE, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	return page != MAP_FAILED ? page : NULL;
}

static int open_page(struct queue *self)
{
	auto_close int fd = FD_NONE;

	if (self->page != NULL)
		return 0;
	fd = openat(self->dir_fd, STDIO_PAGE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	self->page = fd >= 0 ? map_page(fd) : NULL;
	if (self->page == NULL)
		self->page = map_page(FD_NONE);
	if (self->page == NULL)
		return -ENOMEM;
	self->page->version = STDIO_PAGE_VERSION;
	return 0;
}

static int open_memory(struct queue *self)
{
	owned_fd_release(&self->fd);
	self->fd = memfd_create("hydra-" BYTES_NAME, MFD_CLOEXEC);
	self->now.is_in_memory = true;
	self->given_back = self->reached = 0;
	return self->fd < 0 ? -errno : 0;
}

/* Where nothing can be given back in the middle, the file would grow for ever. */
static int open_bytes(struct queue *self)
{
	struct stat info;

	if (self->fd >= 0)
		return 0;
	self->fd = openat(self->dir_fd, BYTES_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (self->fd < 0 || fstat(self->fd, &info) < 0 ||
	    fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FAR_AWAY, STDIO_PAGE_SIZE) < 0)
		return open_memory(self);
	self->reached = (uint64_t) info.st_size;
	return 0;
}

/* The file system is full, or worse: what waits is given up for what comes, which goes on in memory. */
static int give_up_file(struct queue *self)
{
	self->now.is_filling = false;
	queue_lose_all(self);
	queue_commit(self);
	return open_memory(self);
}

/* A chunk is as long as the kernel says, also when whoever began it did not live to hear it. */
static void finish_filling(struct queue *self)
{
	struct queue_state *now = &self->now;
	int64_t got = self->page->filled - (int64_t) (now->newest.start + HEADER_SIZE);

	now->is_filling = false;
	if (got <= 0 || got > QUEUE_CHUNK_MAX)
		return;
	now->newest.size = (uint32_t) got;
	now->head = chunk_end(&now->newest);
	now->read += (uint64_t) got;
}

/* Only we write it; but what would make us read beyond our own memory is not believed. */
static bool is_plausible(const struct queue_state *state)
{
	return state->rests[0].size <= sizeof(state->rests[0].bytes) && state->rests[1].size <= sizeof(state->rests[1].bytes) &&
	       state->intent.rest.size <= sizeof(state->intent.rest.bytes) && state->newest.size <= QUEUE_CHUNK_MAX &&
	       state->tail <= state->head && state->consumed <= QUEUE_CHUNK_MAX && state->written + state->dropped <= state->read;
}

/* A page without a version is a new one, all zeros. */
static bool is_known(const struct queue_page *page)
{
	return page->version == 0 || (page->version == STDIO_PAGE_VERSION && is_plausible(&page->states[page->current & 1]));
}

bool queue_is_understood(int dir_fd)
{
	auto_close int fd = openat(dir_fd, STDIO_PAGE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct queue_page page = {.version = 0};

	return fd < 0 || pread(fd, &page, sizeof(page), 0) < 0 || is_known(&page);
}

/* What a later version may still understand, or a person. */
static void set_aside(struct queue *self)
{
	(void) munmap(self->page, STDIO_PAGE_SIZE);
	self->page = NULL;
	(void) renameat(self->dir_fd, STDIO_PAGE_NAME, self->dir_fd, STDIO_PAGE_NAME QUEUE_ASIDE);
	(void) renameat(self->dir_fd, BYTES_NAME, self->dir_fd, BYTES_NAME QUEUE_ASIDE);
	if (open_page(self) == 0)
		self->page->is_partial = true;
}

bool queue_init(struct queue *self, int dir_fd, bool to_pipes)
{
	auto_close int fd = openat(dir_fd, STDIO_PAGE_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	*self = (struct queue){.dir_fd = dir_fd, .fd = FD_NONE, .is_lent = to_pipes};
	self->page = fd >= 0 ? map_page(fd) : NULL;
	if (self->page == NULL)
		return true;
	if (!is_known(self->page)) {
		set_aside(self);
		return false;
	}
	self->page->version = STDIO_PAGE_VERSION;
	self->now = self->page->states[atomic_load_explicit(&self->page->current, memory_order_acquire) & 1];
	if (self->now.is_filling)
		finish_filling(self);
	if (self->now.is_in_memory)
		queue_lose_all(self);
	self->now.is_in_memory = false;
	(void) open_bytes(self);
	if (self->now.delivering != DELIVERING_NOTHING)
		queue_finish_delivering(self);
	queue_commit(self);
	return true;
}

bool queue_is_partial(const struct queue *self)
{
	return self->page != NULL && self->page->is_partial;
}

void queue_deinit(struct queue *self)
{
	owned_fd_release(&self->fd);
	if (self->page != NULL)
		(void) munmap(self->page, STDIO_PAGE_SIZE);
	self->fd = FD_NONE;
	self->page = NULL;
}

bool queue_oldest_chunk(struct queue *self, struct queue_chunk *ret_chunk)
{
	struct queue_chunk chunk = {.start = self->now.tail};
	struct chunk_header header;

	if (self->now.newest.start == chunk.start && self->now.newest.size > 0) {
		chunk = self->now.newest;
	} else {
		if (pread(self->fd, &header, HEADER_SIZE, (off_t) chunk.start) != HEADER_SIZE)
			return false;
		chunk.time_ns = header.time_ns;
		chunk.size = header.size;
		chunk.is_error = header.is_error != 0;
	}
	*ret_chunk = chunk;
	return chunk.size > self->now.consumed && chunk.size <= QUEUE_CHUNK_MAX && chunk_end(&chunk) <= self->now.head;
}

void queue_step(struct queue *self, const struct queue_chunk *chunk)
{
	self->now.tail = chunk_end(chunk);
	self->now.consumed = 0;
	if (queue_is_empty(self))
		reset(self);
}

static void make_room(struct queue *self, size_t size, uint64_t limit)
{
	uint64_t needed = HEADER_SIZE + rounded(size);

	while (!queue_is_empty(self) && self->now.head - self->now.tail + needed > limit) {
		struct queue_chunk chunk;

		if (!queue_oldest_chunk(self, &chunk)) {
			queue_lose_all(self);
			return;
		}
		count_dropped(self, chunk.size - self->now.consumed);
		queue_step(self, &chunk);
	}
}

/* What was the newest chunk gets its header, and another one begins. */
static int begin_chunk(struct queue *self, bool is_error)
{
	struct queue_state *now = &self->now;
	struct chunk_header header = {now->newest.time_ns, now->newest.size, now->newest.is_error};
	bool is_waiting = !queue_is_empty(self) && now->newest.size > 0 && now->newest.start >= now->tail;
	int r = open_page(self);

	if (r == 0)
		r = open_bytes(self);
	if (r < 0)
		return r;
	if (is_waiting && pwrite(self->fd, &header, HEADER_SIZE, (off_t) now->newest.start) != HEADER_SIZE)
		return -ENOSPC;
	now->newest = (struct queue_chunk){.start = now->head, .time_ns = clock_realtime_ns(), .is_error = is_error};
	now->is_filling = true;
	self->page->filled = (int64_t) (now->head + HEADER_SIZE);
	queue_commit(self);
	return 0;
}

/* The kernel moves `filled` before anybody can kill us. */
static ssize_t splice_chunk(struct queue *self, const struct queue_source *source, uint64_t limit)
{
	ssize_t got;
	int waiting = 0;
	int r;

	(void) ioctl(source->fd, FIONREAD, &waiting);
	/* none: its end, most likely */
	waiting = waiting < 1 ? 1 : waiting > QUEUE_CHUNK_MAX ? QUEUE_CHUNK_MAX : waiting;
	make_room(self, (size_t) waiting, limit);
	r = begin_chunk(self, source->is_error);
	if (r < 0)
		return r;
	got = splice(source->fd, NULL, self->fd, &self->page->filled, (size_t) waiting, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	r = got < 0 ? -errno : 0;
	fault_point("shim.output-taken");
	finish_filling(self);
	if (got <= 0)
		return got < 0 ? r : 0;
	queue_commit(self);
	return got;
}

static int put_chunk(struct queue *self, const uint8_t *bytes, size_t size, bool is_error, uint64_t limit)
{
	int r;

	make_room(self, size, limit);
	r = begin_chunk(self, is_error);
	if (r < 0)
		return r;
	if (pwrite(self->fd, bytes, size, self->page->filled) != (ssize_t) size)
		return -ENOSPC;
	self->page->filled += (int64_t) size;
	finish_filling(self);
	queue_commit(self);
	return 0;
}

static ssize_t read_chunk(struct queue *self, const struct queue_source *source, uint64_t limit)
{
	static uint8_t bytes[QUEUE_CHUNK_MAX];
	ssize_t got = read(source->fd, bytes, sizeof(bytes));

	if (got <= 0)
		return got < 0 ? -errno : 0;
	if (put_chunk(self, bytes, (size_t) got, source->is_error, limit) == 0 ||
	    (give_up_file(self) == 0 && put_chunk(self, bytes, (size_t) got, source->is_error, limit) == 0))
		return got;
	self->now.newest.size = 0;
	self->now.read += (uint64_t) got;
	count_dropped(self, (uint64_t) got);
	return got;
}

ssize_t queue_read_from(struct queue *self, const struct queue_source *source, uint64_t limit)
{
	for (int attempt = 0; attempt < 2 && source->is_pipe; attempt++) {
		ssize_t got = splice_chunk(self, source, limit);

		if (got >= 0 || got == -EAGAIN || got == -EINTR)
			return got;
		/* EINVAL: no pipe after all */
		if (got == -EINVAL || give_up_file(self) < 0)
			break;
	}
	return read_chunk(self, source, limit);
}

size_t queue_copy_newest(struct queue *self, uint8_t bytes[static QUEUE_CHUNK_MAX])
{
	const struct queue_chunk *newest = &self->now.newest;
	ssize_t got = newest->size > 0 ? pread(self->fd, bytes, newest->size, (off_t) (newest->start + HEADER_SIZE)) : 0;

	return got > 0 ? (size_t) got : 0;
}

size_t queue_peek(struct queue *self, uint8_t bytes[static QUEUE_CHUNK_MAX], struct queue_chunk *ret_chunk)
{
	struct queue_chunk chunk;
	size_t size;

	if (queue_is_empty(self))
		return 0;
	if (queue_oldest_chunk(self, &chunk)) {
		size = chunk.size - (size_t) self->now.consumed;
		*ret_chunk = chunk;
		if (pread(self->fd, bytes, size, (off_t) (chunk.start + HEADER_SIZE + self->now.consumed)) == (ssize_t) size)
			return size;
	}
	queue_lose_all(self);
	return 0;
}

void queue_fulfil(struct queue *self)
{
	struct queue_state *now = &self->now;
	struct queue_intent intent = now->intent;
	struct queue_chunk chunk;
	bool has_chunk = intent.consumed > 0 && queue_oldest_chunk(self, &chunk);

	now->intent = (struct queue_intent){.size = 0};
	now->written += intent.taken;
	now->unmarked -= intent.marks < now->unmarked ? intent.marks : now->unmarked;
	now->rests[intent.is_error != 0] = intent.rest;
	if (intent.size > 0)
		now->is_mid_line = !intent.ends_line;
	if (!has_chunk)
		return;
	now->consumed += intent.consumed;
	if (now->consumed >= chunk.size)
		queue_step(self, &chunk);
}
