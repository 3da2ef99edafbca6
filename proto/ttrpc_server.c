/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_server.h"

#include "base/fd_pass.h"
#include "base/owned.h"
#include "proto/message.h"
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

struct ttrpc_connection {
	struct ttrpc_server *server;
	struct event_source source;
	struct ttrpc_reader reader;
	struct ttrpc_call *calls;
	uint8_t *output;
	size_t output_size;
	size_t output_sent;
	bool is_closing; /* to be freed when the current round of input is through */
	bool is_reading; /* frames are being handled: freeing waits */
	const uint8_t *rest; /* input behind the frame being handled */
	size_t rest_size;
	struct ttrpc_connection *next;
};

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

static void connection_close(struct ttrpc_connection *self)
{
	if (self->is_reading)
		self->is_closing = true;
	else
		connection_free(self);
}

/* Sends what waits. False: the client is gone. */
static bool flush(struct ttrpc_connection *self)
{
	while (self->output_sent < self->output_size) {
		ssize_t sent = send(self->source.fd, self->output + self->output_sent, self->output_size - self->output_sent,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0)
			return false;
		self->output_sent += (size_t) sent;
	}
	if (self->output_sent == self->output_size) {
		free(self->output);
		self->output = NULL;
		self->output_size = self->output_sent = 0;
	}
	event_loop_modify(self->server->loop, &self->source, self->output != NULL ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return true;
}

static bool queue(struct ttrpc_connection *self, const uint8_t *frame, size_t size)
{
	uint8_t *larger;

	if (self->output_size + size > OUTPUT_MAX)
		return false;
	larger = realloc(self->output, self->output_size + size);
	if (larger == NULL)
		return false;
	memcpy(larger + self->output_size, frame, size);
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
			connection_close(connection);
		else if (!queue(connection, frame, size))
			connection_close(connection);
	}
	free(call);
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

int ttrpc_take_over(struct ttrpc_call *call, const ProtobufCMessage *response, uint8_t **ret_rest, size_t *ret_rest_size)
{
	struct ttrpc_connection *connection = call->connection;
	int fd = FD_NONE;

	*ret_rest = NULL;
	*ret_rest_size = 0;
	answer(call, TTRPC_OK, NULL, response);
	if (connection == NULL || connection->is_closing)
		return FD_NONE;
	/* with nothing queued a response of this size leaves at once; otherwise the client is not one of ours */
	if (connection->output == NULL) {
		fd = connection->source.fd;
		event_loop_remove(connection->server->loop, &connection->source);
		*ret_rest = malloc(connection->rest_size + 1);
		if (*ret_rest != NULL && connection->rest_size > 0) {
			memcpy(*ret_rest, connection->rest, connection->rest_size);
			*ret_rest_size = connection->rest_size;
		}
	}
	connection_close(connection);
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

static struct ttrpc_call *call_new(struct ttrpc_connection *connection)
{
	struct ttrpc_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->connection = connection;
	call->server = connection->server;
	call->stream_id = connection->reader.header.stream_id;
	call->next = connection->calls;
	connection->calls = call;
	return call;
}

static void dispatch(struct ttrpc_connection *self, struct ttrpc_call *call)
{
	auto_message Ttrpc__Request *request = (Ttrpc__Request *) (void *) message_decode(
		&ttrpc__request__descriptor, self->reader.data, self->reader.header.size);
	auto_message ProtobufCMessage *payload = NULL;

	if (request == NULL) {
		ttrpc_refuse(call, TTRPC_INVALID_ARGUMENT, "the request is not a ttrpc.Request");
		return;
	}
	call->method = find_method(self->server, request);
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

static void handle_frame(struct ttrpc_connection *self, enum ttrpc_reader_result result)
{
	struct ttrpc_call *call;

	if (self->reader.header.type != TTRPC_REQUEST)
		return; /* other types: ignored, as the protocol asks */
	call = call_new(self);
	if (call == NULL)
		self->is_closing = true;
	else if (result == TTRPC_READER_OVERSIZED)
		ttrpc_refuse(call, TTRPC_RESOURCE_EXHAUSTED, "message of %u bytes is larger than %u",
			     self->reader.header.size, TTRPC_DATA_MAX);
	else
		dispatch(self, call);
}

/* False: the connection can't go on. */
static bool handle_bytes(struct ttrpc_connection *self, const uint8_t *bytes, size_t size)
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
		self->rest = bytes;
		self->rest_size = size;
		handle_frame(self, result);
		ttrpc_reader_next(&self->reader);
	}
	return !self->is_closing;
}

static void handle_connection(struct event_source *source, uint32_t events)
{
	struct ttrpc_connection *self = source->context;
	uint8_t bytes[INPUT_STEP];
	bool goes_on = true;

	if ((events & EPOLLOUT) != 0)
		goes_on = flush(self);
	if (goes_on && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
		ssize_t got = recv(source->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		self->is_reading = true;
		if (got > 0)
			goes_on = handle_bytes(self, bytes, (size_t) got);
		else
			goes_on = got < 0 && (errno == EAGAIN || errno == EINTR);
		self->is_reading = false;
	}
	if (!goes_on || self->is_closing)
		connection_free(self);
}

int ttrpc_server_adopt(struct ttrpc_server *self, int fd, struct error *err)
{
	auto_close int owned = fd;
	struct ttrpc_connection *connection;
	int r;

	if (!socket_peer_is_trusted(fd))
		return fail_because(err, EPERM, "the peer is another user");
	connection = calloc(1, sizeof(*connection));
	if (connection == NULL)
		return fail_errno(err, ENOMEM, "accept a connection");
	connection->server = self;
	connection->source = (struct event_source){.handle = handle_connection, .context = connection, .fd = FD_NONE};
	r = event_loop_add(self->loop, &connection->source, fd, EPOLLIN, err);
	if (r < 0) {
		free(connection);
		return r;
	}
	(void) take_fd(&owned);
	connection->next = self->connections;
	self->connections = connection;
	if (++self->connection_count == self->connections_max)
		event_loop_modify(self->loop, &self->listener, 0);
	return 0;
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
