/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/feed.h"

#include "base/fault.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_VERSION 1
#define PAGE_SIZE    4096
#define GIVEN_STEP   65536 /* what all have read goes back to the system in steps of so much */

enum place_state { PLACE_FREE, PLACE_JOINING, PLACE_JOINED };

struct place {
	int64_t sent; /* moved by the kernel */
	uint32_t state;
	uint32_t may_write;
};

struct feed_state {
	int64_t head;
	int64_t end; /* where the last frame begins; 0: it is not there yet */
	uint64_t position;
	uint32_t type; /* of the frame that is being filled */
	uint32_t is_filling;
};

/* Two states, of which one counts, as in shim/queue.c. */
struct feed_page {
	uint32_t version;
	_Atomic uint32_t current;
	int64_t filled; /* moved by the kernel */
	struct feed_state states[2];
	struct place places[FEED_CLIENTS_MAX];
};
_Static_assert(FEED_CLIENTS_MAX <= 64, "places fit a mask");
_Static_assert(sizeof(struct feed_page) <= PAGE_SIZE, "the state fits a page");

struct feed {
	int fd;
	struct feed_page *page;
	struct feed_state now;
	int64_t given_back;
};

static void commit(struct feed *self)
{
	uint32_t other = 1 - (atomic_load_explicit(&self->page->current, memory_order_relaxed) & 1);

	self->page->states[other] = self->now;
	atomic_store_explicit(&self->page->current, other, memory_order_release);
}

/* A frame gets its header when it is known how much the kernel put behind it. */
static int finish_filling(struct feed *self)
{
	uint8_t header[STREAM_HEADER_SIZE];
	int64_t got = self->page->filled - self->now.head - STREAM_HEADER_SIZE;

	self->now.is_filling = false;
	if (got <= 0 || got > FEED_STEP)
		return 0;
	stream_header_write(header, (enum stream_type) self->now.type, (uint32_t) got);
	if (pwrite(self->fd, header, sizeof(header), self->now.head) != (ssize_t) sizeof(header))
		return -ENOSPC;
	self->now.head = self->page->filled;
	return 0;
}

static bool is_plausible(const struct feed_page *page)
{
	const struct feed_state *state = &page->states[page->current & 1];

	if (page->version != PAGE_VERSION || state->head < PAGE_SIZE || state->end < 0 || state->end > state->head)
		return false;
	for (int i = 0; i < FEED_CLIENTS_MAX; i++) {
		if (page->places[i].state != PLACE_FREE && (page->places[i].sent < PAGE_SIZE || page->places[i].sent > state->head))
			return false;
	}
	return true;
}

static int map(struct feed *self, int fd)
{
	struct stat info;

	if (fstat(fd, &info) < 0 || info.st_size < PAGE_SIZE)
		return -EPROTO;
	self->page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (self->page == MAP_FAILED)
		return -errno;
	if (self->page->version == 0) {
		self->page->version = PAGE_VERSION;
		self->page->states[0].head = PAGE_SIZE;
	}
	if (!is_plausible(self->page)) {
		(void) munmap(self->page, PAGE_SIZE);
		return -EPROTO;
	}
	self->now = self->page->states[self->page->current & 1];
	return 0;
}

static int make_file(void)
{
	static const uint8_t zeros[PAGE_SIZE];
	auto_close int fd = memfd_create("hydra-feed", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* written, not only made larger: touching a page that there is no memory for would kill us */
	return pwrite(fd, zeros, PAGE_SIZE, 0) == PAGE_SIZE ? take_fd(&fd) : -ENOMEM;
}

int feed_open(struct feed **ret_self, int fd, struct error *err)
{
	struct feed *self = calloc(1, sizeof(*self));
	auto_close int made = fd >= 0 ? FD_NONE : make_file();
	int r = self == NULL ? -ENOMEM : fd < 0 && made < 0 ? made : map(self, fd >= 0 ? fd : made);

	if (r < 0) {
		free(self);
		return fail_errno(err, -r, "keep output for clients");
	}
	self->fd = fd >= 0 ? fd : take_fd(&made);
	self->given_back = PAGE_SIZE;
	if (self->now.is_filling) {
		(void) finish_filling(self);
		commit(self);
	}
	*ret_self = self;
	return 0;
}

void feed_free(struct feed *self)
{
	if (self == NULL)
		return;
	(void) munmap(self->page, PAGE_SIZE);
	owned_fd_release(&self->fd);
	free(self);
}

int feed_fd(const struct feed *self)
{
	return self->fd;
}

ssize_t feed_take(struct feed *self, int pipe_fd, enum stream_type type)
{
	int waiting = 0;
	ssize_t got;
	int r;

	(void) ioctl(pipe_fd, FIONREAD, &waiting);
	/* none: its end, most likely */
	waiting = waiting < 1 ? 1 : waiting > FEED_STEP ? FEED_STEP : waiting;
	self->now.type = type;
	self->now.is_filling = true;
	self->page->filled = self->now.head + STREAM_HEADER_SIZE;
	commit(self);
	got = splice(pipe_fd, NULL, self->fd, &self->page->filled, (size_t) waiting, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	r = got < 0 ? -errno : 0;
	fault_point("shim.feed-taken");
	if (r == 0)
		r = finish_filling(self);
	self->now.is_filling = false;
	commit(self);
	return r < 0 ? r : got;
}

int feed_append(struct feed *self, enum stream_type type, const uint8_t *data, size_t size, uint64_t position)
{
	uint8_t header[STREAM_HEADER_SIZE];
	int64_t at = self->now.head + STREAM_HEADER_SIZE;

	stream_header_write(header, type, (uint32_t) size);
	if (pwrite(self->fd, header, sizeof(header), self->now.head) != (ssize_t) sizeof(header) ||
	    (size > 0 && pwrite(self->fd, data, size, at) != (ssize_t) size))
		return -ENOSPC;
	if (type == STREAM_EXIT)
		self->now.end = self->now.head;
	self->now.head = at + (int64_t) size;
	self->now.position = position;
	commit(self);
	return 0;
}

uint64_t feed_position(const struct feed *self)
{
	return self->now.position;
}

void feed_set_position(struct feed *self, uint64_t position)
{
	self->now.position = position;
	commit(self);
}

bool feed_has_ended(const struct feed *self)
{
	return self->now.end != 0;
}

int feed_join(struct feed *self, bool may_write)
{
	for (int i = 0; i < FEED_CLIENTS_MAX; i++) {
		struct place *place = &self->page->places[i];

		if (place->state != PLACE_FREE)
			continue;
		place->sent = feed_has_ended(self) ? self->now.end : self->now.head;
		place->may_write = may_write;
		place->state = PLACE_JOINING;
		return i;
	}
	return -1;
}

void feed_confirm(struct feed *self, int place)
{
	self->page->places[place].state = PLACE_JOINED;
}

bool feed_is_confirmed(const struct feed *self, int place)
{
	return self->page->places[place].state == PLACE_JOINED;
}

bool feed_may_write(const struct feed *self, int place)
{
	return self->page->places[place].may_write != 0;
}

/* What all clients have is not needed any more, except the last frame. */
static void give_back(struct feed *self)
{
	int64_t until = feed_has_ended(self) ? self->now.end : self->now.head;

	for (int i = 0; i < FEED_CLIENTS_MAX; i++) {
		if (self->page->places[i].state != PLACE_FREE && self->page->places[i].sent < until)
			until = self->page->places[i].sent;
	}
	until -= until % PAGE_SIZE;
	if (until - self->given_back < GIVEN_STEP)
		return;
	(void) fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, self->given_back, until - self->given_back);
	self->given_back = until;
}

void feed_leave(struct feed *self, int place)
{
	self->page->places[place].state = PLACE_FREE;
	give_back(self);
}

void feed_keep_only(struct feed *self, uint64_t places)
{
	for (int i = 0; i < FEED_CLIENTS_MAX; i++) {
		if ((places >> i & 1) == 0)
			self->page->places[i].state = PLACE_FREE;
	}
}

int feed_send(struct feed *self, int place, int socket_fd)
{
	int64_t *sent = &self->page->places[place].sent;

	while (*sent < self->now.head) {
		ssize_t part = sendfile(socket_fd, self->fd, sent, (size_t) (self->now.head - *sent));

		if (part == 0)
			return -EIO;
		if (part < 0 && errno != EINTR)
			return errno == EAGAIN ? 0 : -errno;
		fault_point("shim.feed-sent");
	}
	give_back(self);
	return 1;
}

uint64_t feed_waiting(const struct feed *self, int place)
{
	return (uint64_t) (self->now.head - self->page->places[place].sent);
}
