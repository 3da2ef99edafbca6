/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client of a ttrpc server: requests from its socket, answers to it.
 */
#include "proto/ttrpc_connection.h"

#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUTPUT_MAX      (16U << 20) /* a client that does not read its answers is hung up on */
#define INPUT_STEP      4096
#define PIECES_PER_TURN 4
#define WHOLE_MAX       65536 /* requests up to this size are kept before they are taken */

void ttrpc_connection_keep(struct ttrpc_connection *self, bool is_kept)
{
	if (self->server->keeper == NULL || self->is_kept == is_kept)
		return;
	self->is_kept = is_kept;
	self->server->keeper->keep(self, is_kept);
}

static void forget_pieces(struct ttrpc_connection *self)
{
	if (self->arriving_at != 0)
		self->server->keeper->forget_pieces(self);
	self->arriving_at = self->arrived = 0;
}

/* A successor knows what has arrived, and that no answer is on its way: how much of that has left it could not know. */
static void consider_keeping(struct ttrpc_connection *self)
{
	ttrpc_connection_keep(self, self->output == NULL && (!self->is_reading_pieces || self->arriving_at != 0));
}

/* The start of a header would be reported again and again; with EPOLLET only what follows it is. */
static void update_events(struct ttrpc_connection *self)
{
	uint32_t events = self->output != NULL ? EPOLLIN | EPOLLOUT : EPOLLIN;

	event_loop_modify(self->server->loop, &self->source, self->waits_for_header ? events | EPOLLET : events);
}

static void forget_calls(struct ttrpc_connection *self)
{
	while (self->calls != NULL) {
		struct ttrpc_call *call = self->calls;

		self->calls = call->next;
		call->connection = NULL;
		ttrpc_call_forget(call);
		if (call->on_abandoned != NULL)
			call->on_abandoned(call);
	}
}

static void unlink_connection(struct ttrpc_connection *self)
{
	for (struct ttrpc_connection **link = &self->server->connections; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	if (self->server->connection_count-- == self->server->connections_max)
		event_loop_modify(self->server->loop, &self->server->listener, EPOLLIN);
}

static void connection_free(struct ttrpc_connection *self)
{
	struct ttrpc_server *server = self->server;
	int fd = self->source.fd;

	/* somebody keeps a copy of it: the client is not to wait until that is closed too */
	if (self->is_kept && fd >= 0)
		(void) shutdown(fd, SHUT_RDWR);
	unlink_connection(self);
	forget_pieces(self);
	ttrpc_connection_keep(self, false);
	event_loop_remove(server->loop, &self->source);
	owned_fd_release(&fd);
	forget_calls(self);
	ttrpc_reader_deinit(&self->reader);
	free(self->output);
	free(self);
	if (server->on_hangup != NULL)
		server->on_hangup(server);
}

void ttrpc_connection_close(struct ttrpc_connection *self)
{
	if (self->is_reading)
		self->is_closing = true;
	else
		connection_free(self);
}

/* Sends what waits. False: the client is gone. */
static bool flush(struct ttrpc_connection *self)
{
	size_t waiting = self->output_size - self->output_sent;
	ssize_t sent = waiting > 0 ? socket_send_now(self->source.fd, self->output + self->output_sent, waiting) : 0;

	if (sent < 0)
		return false;
	self->output_sent += (size_t) sent;
	if (self->output_sent == self->output_size) {
		free(self->output);
		self->output = NULL;
		self->output_size = self->output_sent = 0;
	}
	consider_keeping(self);
	update_events(self);
	return true;
}

bool ttrpc_connection_send(struct ttrpc_connection *self, const uint8_t *bytes, size_t size)
{
	uint8_t *larger;

	if (self->output_size + size > OUTPUT_MAX)
		return false;
	larger = realloc(self->output, self->output_size + size);
	if (larger == NULL)
		return false;
	memcpy(larger + self->output_size, bytes, size);
	self->output = larger;
	self->output_size += size;
	return flush(self);
}

/* The request stays as long as the call waits: another binary, or a successor, may have to handle it again. */
static void take_request(struct ttrpc_connection *self, struct ttrpc_call *call)
{
	call->request = take_ptr(&self->reader.data);
	call->request_size = self->reader.header.size;
	ttrpc_call_keep(call);
	fault_point("shim.request-whole");
	forget_pieces(self);
	self->is_reading_pieces = false;
	consider_keeping(self);
	ttrpc_call_dispatch(call);
}

static void handle_frame(struct ttrpc_connection *self, enum ttrpc_reader_result result)
{
	struct ttrpc_call *call;

	if (self->reader.header.type != TTRPC_REQUEST)
		return; /* other types: ignored, as the protocol asks */
	call = ttrpc_call_new(self, self->reader.header.stream_id);
	if (call == NULL)
		self->is_closing = true;
	else if (result == TTRPC_READER_OVERSIZED)
		ttrpc_refuse(call, TTRPC_RESOURCE_EXHAUSTED, "message of %u bytes is larger than %u",
			     self->reader.header.size, TTRPC_DATA_MAX);
	else
		take_request(self, call);
}

bool ttrpc_connection_push(struct ttrpc_connection *self, const uint8_t *bytes, size_t size)
{
	while (size > 0 && !self->is_closing) {
		size_t taken;
		enum ttrpc_reader_result result = ttrpc_reader_push(&self->reader, bytes, size, &taken);

		bytes += taken;
		size -= taken;
		if (result == TTRPC_READER_NO_MEMORY)
			return false;
		if (result == TTRPC_READER_NEEDS_MORE)
			continue;
		handle_frame(self, result);
		forget_pieces(self);
		ttrpc_reader_next(&self->reader);
	}
	self->is_reading_pieces = self->reader.has_header || self->reader.filled > 0;
	return !self->is_closing;
}

/* From the socket, kept before it is taken if that can be done. While SO_PEEK_OFF is on, the socket itself knows whether what
 * was looked at was taken. */
static ssize_t take_piece(struct ttrpc_connection *self, uint8_t *bytes, size_t size)
{
	const struct ttrpc_keeper *keeper = self->server->keeper;
	int fd = self->source.fd;
	ssize_t got = 0;

	if (keeper == NULL || (self->is_reading_pieces && self->arriving_at == 0))
		return recv(fd, bytes, size, MSG_DONTWAIT);
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int){0}, sizeof(int)) == 0)
		got = recv(fd, bytes, size, MSG_DONTWAIT | MSG_PEEK);
	if (got > 0 && keeper->keep_piece(self, bytes, (size_t) got)) {
		fault_point("shim.piece-kept");
		got = recv(fd, bytes, (size_t) got, MSG_DONTWAIT);
		fault_point("shim.piece-taken");
		if (got > 0)
			keeper->take_piece(self, (size_t) got);
	} else if (got >= 0) {
		forget_pieces(self);
		ttrpc_connection_keep(self, false);
		got = recv(fd, bytes, size, MSG_DONTWAIT);
	}
	(void) setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, sizeof(int));
	return got;
}

/* One piece, not beyond the frame it belongs to: what follows may not be meant for us. 1: there may be more. */
static int read_piece(struct ttrpc_connection *self)
{
	uint8_t bytes[INPUT_STEP];
	size_t size = ttrpc_reader_lacks(&self->reader);
	ssize_t got;

	got = take_piece(self, bytes, size < sizeof(bytes) ? size : sizeof(bytes));
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0 || !ttrpc_connection_push(self, bytes, (size_t) got))
		return -ECONNRESET;
	consider_keeping(self);
	return 1;
}

/* 1: *ret_frame is the next frame, header included, without taking it; 0: it is to be read in pieces; -EAGAIN: there is none, or
 * not even its header. */
static int peek_frame(struct ttrpc_connection *self, struct ttrpc_header *ret_header, uint8_t **ret_frame)
{
	uint8_t bytes[TTRPC_HEADER_SIZE];
	auto_free uint8_t *frame = NULL;
	ssize_t got = recv(self->source.fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);
	ssize_t whole;

	self->waits_for_header = got > 0 && got < (ssize_t) sizeof(bytes);
	update_events(self);
	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -ECONNRESET;
	if (self->waits_for_header)
		return -EAGAIN;
	ttrpc_header_read(bytes, ret_header);
	whole = TTRPC_HEADER_SIZE + (ssize_t) ret_header->size;
	if (ret_header->type != TTRPC_REQUEST || ret_header->size > WHOLE_MAX)
		return 0;
	frame = malloc((size_t) whole);
	if (frame == NULL || recv(self->source.fd, frame, (size_t) whole, MSG_DONTWAIT | MSG_PEEK) != whole)
		return 0;
	*ret_frame = take_ptr(&frame);
	return 1;
}

static int take_whole(struct ttrpc_connection *self, struct ttrpc_call *call, uint8_t *frame)
{
	size_t whole = TTRPC_HEADER_SIZE + call->request_size;

	call->request = malloc(call->request_size + 1);
	if (call->request == NULL)
		return -ENOMEM;
	memcpy(call->request, frame + TTRPC_HEADER_SIZE, call->request_size);
	ttrpc_call_keep(call);
	if (recv(self->source.fd, frame, whole, MSG_DONTWAIT) != (ssize_t) whole)
		return -ECONNRESET;
	fault_point("shim.request-taken");
	return 0;
}

/* With a keeper: the request is kept before it is taken from the socket. */
static int read_whole(struct ttrpc_connection *self)
{
	struct ttrpc_header header;
	auto_free uint8_t *frame = NULL;
	struct ttrpc_call *call;
	int r = self->is_reading_pieces ? 0 : peek_frame(self, &header, &frame);

	if (r <= 0)
		return r < 0 ? (r == -EAGAIN ? 0 : r) : read_piece(self);
	call = ttrpc_call_new(self, header.stream_id);
	if (call == NULL)
		return -ENOMEM;
	call->request_size = header.size;
	r = take_whole(self, call, frame);
	if (r < 0) {
		ttrpc_call_drop(call);
		return r;
	}
	ttrpc_call_dispatch(call);
	return self->is_closing ? -ECONNRESET : 1;
}

static void handle_connection(struct event_source *source, uint32_t events)
{
	struct ttrpc_connection *self = source->context;
	int r = (events & EPOLLOUT) != 0 && !flush(self) ? -ECONNRESET : 1;

	self->is_reading = true;
	for (int i = 0; i < PIECES_PER_TURN && r > 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0; i++)
		r = self->server->keeper != NULL ? read_whole(self) : read_piece(self);
	self->is_reading = false;
	if (self->waits_for_header && (events & (EPOLLHUP | EPOLLERR)) != 0)
		r = -ECONNRESET; /* it will not come */
	if (r < 0 || self->is_closing)
		connection_free(self);
}

int ttrpc_connection_open(struct ttrpc_connection **ret_self, struct ttrpc_server *server, int fd, uint32_t number, struct error *err)
{
	auto_close int owned = fd;
	struct ttrpc_connection *self = calloc(1, sizeof(*self));
	int r;

	if (self == NULL)
		return fail_errno(err, ENOMEM, "accept a connection");
	self->server = server;
	self->number = number;
	self->source = (struct event_source){.handle = handle_connection, .context = self, .fd = FD_NONE};
	r = event_loop_add(server->loop, &self->source, fd, EPOLLIN, err);
	if (r < 0) {
		free(self);
		return r;
	}
	(void) take_fd(&owned);
	self->next = server->connections;
	server->connections = self;
	if (++server->connection_count == server->connections_max)
		event_loop_modify(server->loop, &server->listener, 0);
	ttrpc_connection_keep(self, true);
	*ret_self = self;
	return 0;
}
