/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/client.h"

#include "base/owned.h"
#include "proto/message.h"
#include "shim/container.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEHIND_SIZE   (256U << 10) /* an exec's output waits for its client from here on */
#define HOPELESS_SIZE (4U << 20)   /* a client of init that is this far behind is hung up on: the log has it all */

struct client {
	struct process *process;
	struct event_source source;
	bool may_write;
	bool is_ending; /* to be freed when its output is sent */
	bool is_input_held;
	uint8_t *output;
	size_t output_size;
	size_t output_sent;
	uint8_t header[STREAM_HEADER_SIZE];
	size_t header_filled;
	uint8_t *frame;
	size_t frame_filled;
	struct stream_header frame_header;
	struct client *next;
};

static struct event_loop *loop_of(struct client *self)
{
	return &self->process->container->shim->loop;
}

void client_free(struct client *self)
{
	int fd = self->source.fd;

	for (struct client **link = &self->process->clients; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	event_loop_remove(loop_of(self), &self->source);
	owned_fd_release(&fd);
	free(self->output);
	free(self->frame);
	free(self);
}

static void update_events(struct client *self)
{
	uint32_t events = self->is_input_held ? 0 : EPOLLIN;

	if (self->output_size > self->output_sent)
		events |= EPOLLOUT;
	event_loop_modify(loop_of(self), &self->source, events);
}

static bool flush(struct client *self)
{
	while (self->output_sent < self->output_size) {
		ssize_t sent = send(self->source.fd, self->output + self->output_sent, self->output_size - self->output_sent,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN)
			return false;
		if (sent < 0)
			break;
		self->output_sent += (size_t) sent;
	}
	if (self->output_sent == self->output_size) {
		free(self->output);
		self->output = NULL;
		self->output_size = self->output_sent = 0;
	}
	return true;
}

static bool queue(struct client *self, const void *data, size_t size)
{
	size_t waiting = self->output_size - self->output_sent;
	uint8_t *larger;

	if (self->output_sent > 0) {
		memmove(self->output, self->output + self->output_sent, waiting);
		self->output_size = waiting;
		self->output_sent = 0;
	}
	larger = realloc(self->output, waiting + size);
	if (larger == NULL)
		return false;
	memcpy(larger + waiting, data, size);
	self->output = larger;
	self->output_size = waiting + size;
	return true;
}

static bool send_frame(struct client *self, enum stream_type type, const uint8_t *data, size_t size)
{
	uint8_t header[STREAM_HEADER_SIZE];

	stream_header_write(header, type, (uint32_t) size);
	if (!queue(self, header, sizeof(header)) || !queue(self, data, size) || !flush(self))
		return false;
	update_events(self);
	return self->process->exec_id[0] != '\0' || self->output_size - self->output_sent <= HOPELESS_SIZE;
}

void clients_send(struct process *process, enum stream_type type, const uint8_t *data, size_t size)
{
	struct client *next;

	for (struct client *self = process->clients; self != NULL; self = next) {
		next = self->next;
		if (!self->is_ending && !send_frame(self, type, data, size))
			client_free(self);
	}
}

bool clients_are_behind(const struct process *process)
{
	for (const struct client *self = process->clients; self != NULL; self = self->next) {
		if (process->exec_id[0] != '\0' && self->output_size - self->output_sent > BEHIND_SIZE)
			return true;
	}
	return false;
}

void clients_end(struct process *process)
{
	auto_free uint8_t *data = NULL;
	struct client *next;
	struct error ignored;
	size_t size = 0;

	if (process->clients == NULL || message_encode(&process->exit->base, &data, &size, &ignored) < 0)
		return;
	for (struct client *self = process->clients; self != NULL; self = next) {
		next = self->next;
		if (self->is_ending)
			continue;
		if (!send_frame(self, STREAM_EXIT, data, size) || self->output == NULL)
			client_free(self);
		else
			self->is_ending = true;
	}
}

void clients_resume_input(struct process *process)
{
	for (struct client *self = process->clients; self != NULL; self = self->next) {
		self->is_input_held = false;
		update_events(self);
	}
}

static void handle_frame(struct client *self)
{
	const struct stream_header *header = &self->frame_header;
	unsigned columns, rows;

	if (header->type == STREAM_IN && self->may_write &&
	    process_write_input(self->process, self->frame, header->size) == -EAGAIN)
		self->is_input_held = true;
	else if (header->type == STREAM_IN_END && self->may_write)
		process_end_input(self->process);
	else if (header->type == STREAM_RESIZE && stream_resize_read(self->frame, header->size, &columns, &rows))
		process_resize(self->process, columns, rows);
}

/* False: the client broke the protocol, or memory ran out. */
static bool take_bytes(struct client *self, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		size_t part;

		if (self->header_filled < STREAM_HEADER_SIZE) {
			self->header[self->header_filled++] = *bytes++;
			size--;
			if (self->header_filled < STREAM_HEADER_SIZE)
				continue;
			if (!stream_header_read(self->header, &self->frame_header))
				return false;
			self->frame = malloc(self->frame_header.size + 1);
			self->frame_filled = 0;
			if (self->frame == NULL)
				return false;
		}
		part = self->frame_header.size - self->frame_filled;
		part = part < size ? part : size;
		memcpy(self->frame + self->frame_filled, bytes, part);
		self->frame_filled += part;
		bytes += part;
		size -= part;
		if (self->frame_filled == self->frame_header.size) {
			handle_frame(self);
			free(self->frame);
			self->frame = NULL;
			self->header_filled = 0;
		}
	}
	return true;
}

static bool read_client(struct client *self)
{
	uint8_t bytes[4096];
	ssize_t got = recv(self->source.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	return got > 0 && take_bytes(self, bytes, (size_t) got);
}

static void handle_client(struct event_source *source, uint32_t events)
{
	struct client *self = source->context;
	struct process *process = self->process;
	struct shim *shim = process->container->shim;
	bool goes_on = true;

	if ((events & EPOLLOUT) != 0)
		goes_on = flush(self) && !(self->is_ending && self->output == NULL);
	if (goes_on && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		goes_on = (events & EPOLLIN) != 0 && read_client(self);
	if (goes_on)
		update_events(self);
	else
		client_free(self);
	process_resume_output(process);
	shim_consider_end(shim);
}

int client_new(struct process *process, int fd, bool may_write, const uint8_t *rest, size_t rest_size, struct error *err)
{
	auto_close int owned = fd;
	struct client *self = calloc(1, sizeof(*self));
	int r;

	if (self == NULL)
		return fail_errno(err, ENOMEM, "attach");
	self->process = process;
	self->may_write = may_write;
	self->source = (struct event_source){.handle = handle_client, .context = self, .fd = FD_NONE};
	(void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r = event_loop_add(loop_of(self), &self->source, fd, EPOLLIN, err);
	if (r < 0) {
		free(self);
		return r;
	}
	(void) take_fd(&owned);
	self->next = process->clients;
	process->clients = self;
	if (rest_size > 0 && !take_bytes(self, rest, rest_size))
		client_free(self);
	return 0;
}

static bool seal_buffers(const struct client *self, Hydra__V1__SealedClient *sealed)
{
	size_t waiting = self->output_size - self->output_sent;
	size_t frame = self->header_filled == STREAM_HEADER_SIZE ? self->frame_filled : 0;

	sealed->input.data = malloc(self->header_filled + frame + 1);
	sealed->output.data = malloc(waiting + 1);
	if (sealed->input.data == NULL || sealed->output.data == NULL)
		return false;
	sealed->input.len = self->header_filled + frame;
	memcpy(sealed->input.data, self->header, self->header_filled);
	if (frame > 0)
		memcpy(sealed->input.data + self->header_filled, self->frame, frame);
	sealed->output.len = waiting;
	if (waiting > 0)
		memcpy(sealed->output.data, self->output + self->output_sent, waiting);
	return true;
}

bool clients_seal(const struct process *process, Hydra__V1__SealedProcess *sealed)
{
	size_t count = 0;

	for (const struct client *self = process->clients; self != NULL; self = self->next)
		count++;
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
		one->may_write = self->may_write;
		one->is_ending = self->is_ending;
		if (!seal_buffers(self, one))
			return false;
	}
	return true;
}

void clients_unseal(struct process *process, const Hydra__V1__SealedProcess *sealed)
{
	for (size_t i = 0; i < sealed->n_clients; i++) {
		const Hydra__V1__SealedClient *one = sealed->clients[i];
		struct client *self;
		struct error ignored;

		if (client_new(process, one->fd, one->may_write, NULL, 0, &ignored) < 0)
			continue;
		self = process->clients;
		self->is_ending = one->is_ending;
		if (!take_bytes(self, one->input.data, one->input.len) ||
		    (one->output.len > 0 && !queue(self, one->output.data, one->output.len)))
			client_free(self);
		else
			update_events(self);
	}
}
