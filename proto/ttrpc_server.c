/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_server.h"

#include "base/fd_pass.h"
#include "base/owned.h"
#include "proto/message.h"
#include "proto/ttrpc_connection.h"
#include "ttrpc.pb-c.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define OUTPUT_MAX      (16U << 20) /* a client that does not read its answers is hung up on */
#define INPUT_STEP      4096
#define PIECES_PER_TURN 4

static void forget_calls(struct ttrpc_connection *self)
{
	while (self->calls != NULL) {
		struct ttrpc_call *call = self->calls;

		self->calls = call->next;
		call->connection = NULL;
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

	unlink_connection(self);
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
	event_loop_modify(self->server->loop, &self->source, self->output != NULL ? EPOLLIN | EPOLLOUT : EPOLLIN);
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

static void call_unlink(struct ttrpc_call *call)
{
	if (call->connection == NULL)
		return;
	for (struct ttrpc_call **link = &call->connection->calls; *link != NULL; link = &(*link)->next) {
		if (*link == call) {
			*link = call->next;
			return;
		}
	}
}

static void call_free(struct ttrpc_call *call)
{
	free(call->request);
	free(call);
}

static void answer(struct ttrpc_call *call, enum ttrpc_code code, const char *text, const ProtobufCMessage *payload)
{
	struct ttrpc_connection *connection = call->connection;
	auto_free uint8_t *frame = NULL;
	struct error err;
	size_t size;

	call_unlink(call);
	if (connection != NULL && !connection->is_closing) {
		if (ttrpc_build_response(call->stream_id, code, text, payload, &frame, &size, &err) < 0 &&
		    ttrpc_build_response(call->stream_id, TTRPC_INTERNAL, err.message, NULL, &frame, &size, &err) < 0)
			ttrpc_connection_close(connection);
		else if (!ttrpc_connection_send(connection, frame, size))
			ttrpc_connection_close(connection);
	}
	call_free(call);
}

void ttrpc_reply(struct ttrpc_call *call, const ProtobufCMessage *response)
{
	answer(call, TTRPC_OK, NULL, response);
}

void ttrpc_reply_empty(struct ttrpc_call *call)
{
	answer(call, TTRPC_OK, NULL, NULL);
}

void ttrpc_refuse(struct ttrpc_call *call, enum ttrpc_code code, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	answer(call, code, text, NULL);
}

void ttrpc_refuse_error(struct ttrpc_call *call, const struct error *err)
{
	answer(call, ttrpc_code_of(err->code), err->message, NULL);
}

int ttrpc_call_fd(const struct ttrpc_call *call)
{
	return call->connection != NULL && !call->connection->is_closing ? call->connection->source.fd : FD_NONE;
}

/* Nothing waits to be sent before it: a response of this size leaves at once and whole. */
static bool answer_with(struct ttrpc_call *call, const ProtobufCMessage *response, int pass_fd)
{
	auto_free uint8_t *frame = NULL;
	struct error ignored;
	size_t size;

	return call->connection->output == NULL &&
	       ttrpc_build_response(call->stream_id, TTRPC_OK, NULL, response, &frame, &size, &ignored) == 0 &&
	       fd_pass_send(call->connection->source.fd, frame, size, &pass_fd, pass_fd >= 0) == (ssize_t) size;
}

int ttrpc_take_over(struct ttrpc_call *call, const ProtobufCMessage *response, int pass_fd)
{
	struct ttrpc_connection *connection = call->connection;
	int fd = FD_NONE;

	call_unlink(call);
	if (ttrpc_call_fd(call) >= 0 && answer_with(call, response, pass_fd)) {
		fd = connection->source.fd;
		event_loop_remove(connection->server->loop, &connection->source);
	}
	call_free(call);
	if (connection != NULL && !connection->is_closing)
		ttrpc_connection_close(connection);
	return fd;
}

static const struct ttrpc_method *find_method(const struct ttrpc_server *server, const Ttrpc__Request *request)
{
	for (const struct ttrpc_method *method = server->methods; method->service != NULL; method++) {
		if (strcmp(method->service, request->service) == 0 && strcmp(method->name, request->method) == 0)
			return method;
	}
	return NULL;
}

struct ttrpc_call *ttrpc_call_new(struct ttrpc_connection *connection, uint32_t stream_id)
{
	struct ttrpc_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->connection = connection;
	call->server = connection->server;
	call->stream_id = stream_id;
	call->next = connection->calls;
	connection->calls = call;
	return call;
}

void ttrpc_call_dispatch(struct ttrpc_call *call)
{
	auto_message Ttrpc__Request *request = (Ttrpc__Request *) (void *) message_decode(&ttrpc__request__descriptor, call->request,
											 call->request_size);
	auto_message ProtobufCMessage *payload = NULL;

	if (request == NULL) {
		ttrpc_refuse(call, TTRPC_INVALID_ARGUMENT, "the request is not a ttrpc.Request");
		return;
	}
	call->method = find_method(call->server, request);
	if (call->method == NULL) {
		ttrpc_refuse(call, TTRPC_UNIMPLEMENTED, "no method %s of service %s", request->method, request->service);
		return;
	}
	payload = message_decode(call->method->request, request->payload.data, request->payload.len);
	if (payload == NULL) {
		ttrpc_refuse(call, TTRPC_INTERNAL, "the payload of %s is not a %s", call->method->name,
			     call->method->request->name);
		return;
	}
	call->method->handle(call, payload);
}

/* The request is kept as long as the call waits: another binary may have to handle it again. */
static void take_request(struct ttrpc_connection *self, struct ttrpc_call *call)
{
	call->request = take_ptr(&self->reader.data);
	call->request_size = self->reader.header.size;
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
		ttrpc_reader_next(&self->reader);
	}
	return !self->is_closing;
}

/* One piece, not beyond the frame it belongs to: what follows may not be meant for us. 1: there may be more. */
static int read_piece(struct ttrpc_connection *self)
{
	uint8_t bytes[INPUT_STEP];
	size_t size = ttrpc_reader_lacks(&self->reader);
	ssize_t got = recv(self->source.fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes), MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return got > 0 && ttrpc_connection_push(self, bytes, (size_t) got) ? 1 : -ECONNRESET;
}

static void handle_connection(struct event_source *source, uint32_t events)
{
	struct ttrpc_connection *self = source->context;
	int r = (events & EPOLLOUT) != 0 && !flush(self) ? -ECONNRESET : 1;

	self->is_reading = true;
	for (int i = 0; i < PIECES_PER_TURN && r > 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0; i++)
		r = read_piece(self);
	self->is_reading = false;
	if (r < 0 || self->is_closing)
		connection_free(self);
}

int ttrpc_connection_open(struct ttrpc_connection **ret_self, struct ttrpc_server *server, int fd, struct error *err)
{
	auto_close int owned = fd;
	struct ttrpc_connection *self = calloc(1, sizeof(*self));
	int r;

	if (self == NULL)
		return fail_errno(err, ENOMEM, "accept a connection");
	self->server = server;
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
	*ret_self = self;
	return 0;
}

int ttrpc_server_adopt(struct ttrpc_server *self, int fd, struct error *err)
{
	struct ttrpc_connection *connection;

	if (!socket_peer_is_trusted(fd)) {
		(void) close(fd);
		return fail_because(err, EPERM, "the peer is another user");
	}
	return ttrpc_connection_open(&connection, self, fd, err);
}

static void handle_listener(struct event_source *source, uint32_t events)
{
	struct ttrpc_server *self = source->context;
	struct error ignored;

	(void) events;
	while (self->connection_count < self->connections_max) {
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		(void) ttrpc_server_adopt(self, fd, &ignored);
	}
}

int ttrpc_server_init(struct ttrpc_server *self, struct event_loop *loop, int listen_fd,
		      const struct ttrpc_method *methods, void *context, struct error *err)
{
	*self = (struct ttrpc_server){
		.loop = loop,
		.listener = {.handle = handle_listener, .context = self, .fd = FD_NONE},
		.methods = methods,
		.context = context,
		.connections_max = CONNECTIONS_MAX,
	};
	return event_loop_add(loop, &self->listener, listen_fd, EPOLLIN, err);
}

void ttrpc_server_deinit(struct ttrpc_server *self)
{
	event_loop_remove(self->loop, &self->listener);
	while (self->connections != NULL)
		connection_free(self->connections);
}

bool ttrpc_server_is_flushed(const struct ttrpc_server *self)
{
	for (const struct ttrpc_connection *connection = self->connections; connection != NULL; connection = connection->next) {
		if (connection->output != NULL)
			return false;
	}
	return true;
}
