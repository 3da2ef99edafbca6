/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/client.h"

#include "base/fault.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/owned.h"
#include "proto/message.h"
#include "shim/container.h"
#include "shim/deposit.h"
#include "shim/feed.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEHIND_SIZE   (256U << 10) /* an exec's output waits for its client from here on */
#define HOPELESS_SIZE (4U << 20)   /* a client of init that is this far behind is hung up on: the log has it all */
#define PEEK_SIZE     4096         /* frames that are not input are not larger */

struct client {
	struct process *process;
	struct event_source source; /* fd FD_NONE: it was not told yet that it has joined */
	int place;                  /* in the feed */
	uint32_t input_left;        /* of an input frame whose header was taken */
	bool is_behind;             /* waits for room in its socket */
	bool is_input_held; /* of a client that sends input in frames */
	bool has_partial_frame;
	struct client *next;
};

static struct event_loop *loop_of(const struct process *process)
{
	return &process->container->shim->loop;
}

static void leave_feed(struct process *process, int place)
{
	deposit_drop_client(process, place);
	feed_leave(process->feed, place);
	if (process->clients != NULL)
		return;
	deposit_drop_feed(process);
	feed_free(process->feed);
	process->feed = NULL;
}

void client_free(struct client *self)
{
	struct process *process = self->process;
	int place = self->place;
	int fd = self->source.fd;

	for (struct client **link = &process->clients; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	event_loop_remove(loop_of(process), &self->source);
	/* others keep copies of it for a little while: the client is not to wait for these */
	if (fd >= 0)
		(void) shutdown(fd, SHUT_RDWR);
	owned_fd_release(&fd);
	free(self);
	leave_feed(process, place);
}

/* The start of a frame would be reported again and again; with EPOLLET only what follows it is. */
static void update_events(struct client *self)
{
	uint32_t events = self->is_input_held ? 0 : EPOLLIN;

	if (self->is_behind)
		events |= EPOLLOUT;
	if (self->has_partial_frame)
		events |= EPOLLET;
	event_loop_modify(loop_of(self->process), &self->source, events);
}

/* False: the client has gone, or got its last frame. */
static bool flush(struct client *self)
{
	const struct feed *feed = self->process->feed;
	int r = feed_send(self->process->feed, self->place, self->source.fd);

	if (r < 0 || (r > 0 && feed_has_ended(feed)))
		return false;
	self->is_behind = r == 0;
	if (self->is_behind && self->process->exec_id[0] == '\0' && feed_waiting(feed, self->place) > HOPELESS_SIZE)
		return false;
	update_events(self);
	return true;
}

static void flush_all(struct process *process)
{
	struct client *next;

	for (struct client *self = process->clients; self != NULL; self = next) {
		next = self->next;
		if (self->source.fd >= 0 && !flush(self))
			client_free(self);
	}
}

static void hang_up_on_all(struct process *process, const char *why)
{
	log_error("clients hung up on", "container=%s exec=%s error=\"%s\"", process->container->dir.id, process->exec_id, why);
	while (process->clients != NULL)
		client_free(process->clients);
}

void clients_send(struct process *process, enum stream_type type, const uint8_t *data, size_t size, uint64_t position)
{
	int r;

	if (process->clients == NULL)
		return;
	r = feed_append(process->feed, type, data, size, position);
	fault_point("shim.feed-appended");
	if (r < 0)
		hang_up_on_all(process, strerrordesc_np(-r));
	else
		flush_all(process);
}

ssize_t clients_take(struct process *process, int pipe_fd, enum stream_type type)
{
	ssize_t got = feed_take(process->feed, pipe_fd, type);

	if (got == -ENOSPC || got == -ENOMEM)
		hang_up_on_all(process, strerrordesc_np((int) -got));
	else if (got > 0)
		flush_all(process);
	return got == -ENOSPC || got == -ENOMEM ? -EAGAIN : got;
}

bool clients_are_behind(const struct process *process)
{
	for (const struct client *self = process->clients; self != NULL; self = self->next) {
		if (process->exec_id[0] != '\0' && feed_waiting(process->feed, self->place) > BEHIND_SIZE)
			return true;
	}
	return false;
}

bool clients_have_bytes_waiting(const struct process *process)
{
	for (const struct client *self = process->clients; self != NULL; self = self->next) {
		if (feed_waiting(process->feed, self->place) > 0)
			return true;
	}
	return false;
}

void clients_end(struct process *process)
{
	auto_free uint8_t *data = NULL;
	struct error ignored;
	size_t size = 0;

	if (process->clients == NULL || message_encode(&process->exit->base, &data, &size, &ignored) < 0)
		return;
	if (feed_has_ended(process->feed))
		flush_all(process);
	else
		clients_send(process, STREAM_EXIT, data, size, feed_position(process->feed));
}

void clients_resume_input(struct process *process)
{
	for (struct client *self = process->clients; self != NULL; self = self->next) {
		self->is_input_held = false;
		if (self->source.fd >= 0)
			update_events(self);
	}
}

static void write_input(struct client *self, const uint8_t *bytes, size_t size)
{
	self->input_left -= (uint32_t) size;
	if (feed_may_write(self->process->feed, self->place) && process_write_input(self->process, bytes, size) == -EAGAIN)
		self->is_input_held = true;
}

static void act(struct client *self, const struct stream_header *header, const uint8_t *data)
{
	unsigned columns, rows;

	if (header->type == STREAM_IN_END && feed_may_write(self->process->feed, self->place))
		process_end_input(self->process);
	else if (header->type == STREAM_RESIZE && stream_resize_read(data, header->size, &columns, &rows))
		process_resize(self->process, columns, rows);
}

/* How many of the bytes were acted upon, which may be none: the first frame is not whole. -EPROTO: it never will be. */
static int act_on_next(struct client *self, const uint8_t *bytes, size_t size)
{
	struct stream_header header;

	if (self->input_left > 0) {
		size = size < self->input_left ? size : self->input_left;
		write_input(self, bytes, size);
		return (int) size;
	}
	if (size < STREAM_HEADER_SIZE)
		return 0;
	if (!stream_header_read(bytes, &header))
		return -EPROTO;
	if (header.type == STREAM_IN) {
		self->input_left = header.size;
		return STREAM_HEADER_SIZE;
	}
	if (header.size > PEEK_SIZE - STREAM_HEADER_SIZE)
		return -EPROTO;
	if (size < STREAM_HEADER_SIZE + header.size)
		return 0;
	act(self, &header, bytes + STREAM_HEADER_SIZE);
	return (int) (STREAM_HEADER_SIZE + header.size);
}

static bool read_client(struct client *self)
{
	uint8_t bytes[PEEK_SIZE];
	ssize_t got = recv(self->source.fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);
	int taken = 1;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		return false;
	for (size_t done = 0; done < (size_t) got && taken > 0 && !self->is_input_held; done += (size_t) taken) {
		taken = act_on_next(self, bytes + done, (size_t) got - done);
		fault_point("shim.frame-acted-upon");
		if (taken > 0 && recv(self->source.fd, bytes + done, (size_t) taken, MSG_DONTWAIT) != taken)
			return false;
	}
	self->has_partial_frame = taken == 0;
	return taken >= 0;
}

static void handle_client(struct event_source *source, uint32_t events)
{
	struct client *self = source->context;
	struct process *process = self->process;
	struct shim *shim = process->container->shim;
	bool goes_on = true;

	if ((events & EPOLLOUT) != 0)
		goes_on = flush(self);
	if (goes_on && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		goes_on = (events & EPOLLIN) != 0 && read_client(self);
	if (goes_on)
		update_events(self);
	else
		client_free(self);
	process_resume_output(process);
	shim_consider_end(shim);
}

static struct client *new_client(struct process *process, int place)
{
	struct client *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return NULL;
	self->process = process;
	self->place = place;
	self->source = (struct event_source){.handle = handle_client, .context = self, .fd = FD_NONE};
	self->next = process->clients;
	process->clients = self;
	return self;
}

static int need_feed(struct process *process, struct error *err)
{
	int r = process->feed == NULL ? feed_open(&process->feed, FD_NONE, err) : 0;

	if (r < 0 || process->clients != NULL)
		return r;
	if (process->log != NULL)
		feed_set_position(process->feed, output_count(process->log).read);
	deposit_put_feed(process);
	return 0;
}

int client_join(struct client **ret_self, struct process *process, int connection_fd, bool may_write, struct error *err)
{
	int r = need_feed(process, err);
	int place = r == 0 ? feed_join(process->feed, may_write) : -1;
	struct client *self = place >= 0 ? new_client(process, place) : NULL;

	if (r < 0)
		return r;
	if (place < 0)
		return fail_because(err, EBUSY, "attach to '%s': %d clients are attached, which is the most there may be",
				    process->container->dir.id, FEED_CLIENTS_MAX);
	if (self == NULL) {
		leave_feed(process, place);
		return fail_errno(err, ENOMEM, "attach to '%s'", process->container->dir.id);
	}
	deposit_put_client(process, place, connection_fd);
	fault_point("shim.client-joined");
	*ret_self = self;
	return 0;
}

static bool watch(struct client *self, int fd)
{
	auto_close int owned = fd;
	struct error ignored;

	(void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (event_loop_add(loop_of(self->process), &self->source, fd, EPOLLIN, &ignored) < 0)
		return false;
	(void) take_fd(&owned);
	return flush(self);
}

void client_begin(struct client *self, int fd)
{
	fault_point("shim.client-told");
	if (fd < 0) {
		client_free(self);
		return;
	}
	feed_confirm(self->process->feed, self->place);
	if (!watch(self, fd))
		client_free(self);
}

/* Until clients_go_on() the number of its connection is only noted. */
void clients_keep(struct process *process, int place, int fd)
{
	struct client *self = place >= 0 && place < FEED_CLIENTS_MAX ? new_client(process, place) : NULL;

	if (self == NULL)
		(void) close(fd);
	else
		self->source.fd = fd;
}

void clients_keep_feed(struct process *process, int fd)
{
	struct error err;

	if (process->feed != NULL || feed_open(&process->feed, fd, &err) < 0)
		(void) close(fd);
}

/* Who was not told for certain that it has joined is hung up on: nothing was sent to it, and it asks again. */
static void resume(struct client *self)
{
	int fd = self->source.fd;

	self->source.fd = FD_NONE;
	if (!feed_is_confirmed(self->process->feed, self->place))
		(void) close(fd);
	else if (watch(self, fd))
		return;
	client_free(self);
}

static void forget_kept(struct process *process)
{
	while (process->clients != NULL) {
		struct client *self = process->clients;

		process->clients = self->next;
		(void) close(self->source.fd);
		free(self);
	}
	feed_free(process->feed);
	process->feed = NULL;
}

void clients_go_on(struct process *process, enum stream_type type, const uint8_t *newest, size_t size, uint64_t position)
{
	struct client *next;
	uint64_t places = 0, missing;

	if (process->feed == NULL || process->clients == NULL) {
		forget_kept(process);
		return;
	}
	missing = position > feed_position(process->feed) ? position - feed_position(process->feed) : 0;
	if (missing > 0 && missing <= size)
		(void) feed_append(process->feed, type, newest + size - missing, (size_t) missing, position);
	for (const struct client *self = process->clients; self != NULL; self = self->next)
		places |= 1ULL << self->place;
	feed_keep_only(process->feed, places);
	for (struct client *self = process->clients; self != NULL; self = next) {
		next = self->next;
		resume(self);
	}
}

bool clients_have(const struct process *process, int fd)
{
	for (const struct client *self = process->clients; self != NULL; self = self->next) {
		if (self->source.fd >= 0 && kernel_is_same_file(self->source.fd, fd))
			return true;
	}
	return false;
}

void clients_deposit(struct process *process)
{
	if (process->feed == NULL)
		return;
	deposit_put_feed(process);
	for (const struct client *self = process->clients; self != NULL; self = self->next) {
		if (self->source.fd >= 0)
			deposit_put_client(process, self->place, self->source.fd);
	}
}

/* A header for what is still to come of an input frame. */
static bool seal_input(const struct client *self, Hydra__V1__SealedClient *sealed)
{
	if (self->input_left == 0)
		return true;
	sealed->input.data = malloc(STREAM_HEADER_SIZE);
	if (sealed->input.data == NULL)
		return false;
	sealed->input.len = STREAM_HEADER_SIZE;
	stream_header_write(sealed->input.data, STREAM_IN, self->input_left);
	return true;
}

bool clients_seal(const struct process *process, Hydra__V1__SealedProcess *sealed)
{
	size_t count = 0;

	for (const struct client *self = process->clients; self != NULL; self = self->next)
		count++;
	sealed->feed_fd = process->feed != NULL ? feed_fd(process->feed) : 0;
	sealed->clients = calloc(count + 1, sizeof(*sealed->clients));
	if (sealed->clients == NULL)
		return false;
	for (const struct client *self = process->clients; self != NULL; self = self->next) {
		Hydra__V1__SealedClient *one = malloc(sizeof(*one));

		if (one == NULL)
			return false;
		hydra__v1__sealed_client__init(one);
		sealed->clients[sealed->n_clients++] = one;
		one->fd = self->source.fd;
		one->place = (uint32_t) self->place;
		one->may_write = feed_may_write(process->feed, self->place);
		if (!seal_input(self, one))
			return false;
	}
	return true;
}

/* Of a binary that had no feeds: who has all its output joins one; for others there is no way to go on. */
static void unseal_without_feed(struct process *process, const Hydra__V1__SealedClient *sealed)
{
	struct client *self;
	struct error err;

	if (sealed->is_ending || sealed->output.len > 0 || sealed->input.len > 0 ||
	    client_join(&self, process, sealed->fd, sealed->may_write, &err) < 0)
		(void) close(sealed->fd);
	else
		client_begin(self, sealed->fd);
}

static void unseal_client(struct process *process, const Hydra__V1__SealedClient *sealed)
{
	struct stream_header header;

	clients_keep(process, (int) sealed->place, sealed->fd);
	if (sealed->input.len == STREAM_HEADER_SIZE && stream_header_read(sealed->input.data, &header) && process->clients != NULL)
		process->clients->input_left = header.size;
}

void clients_unseal(struct process *process, const Hydra__V1__SealedProcess *sealed)
{
	if (sealed->feed_fd > 0)
		clients_keep_feed(process, sealed->feed_fd);
	for (size_t i = 0; i < sealed->n_clients; i++) {
		if (sealed->feed_fd > 0)
			unseal_client(process, sealed->clients[i]);
		else
			unseal_without_feed(process, sealed->clients[i]);
	}
	if (sealed->feed_fd > 0)
		clients_go_on(process, STREAM_OUT, NULL, 0, 0);
}
