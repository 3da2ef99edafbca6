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

void ttrpc_call_keep(struct ttrpc_call *call)
{
	if (call->server->keeper != NULL && call->kept_at == 0)
		call->server->keeper->keep_call(call);
}

void ttrpc_call_forget(struct ttrpc_call *call)
{
	if (call->server->keeper != NULL && call->kept_at != 0)
		call->server->keeper->forget_call(call);
	call->kept_at = 0;
}

void ttrpc_call_begin(struct ttrpc_call *call)
{
	call->was_begun = true;
	if (call->server->keeper != NULL && call->kept_at != 0)
		call->server->keeper->begin_call(call);
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
	ttrpc_call_forget(call);
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

void ttrpc_call_drop(struct ttrpc_call *call)
{
	call_unlink(call);
	call_free(call);
}

void ttrpc_call_hang_up(struct ttrpc_call *call)
{
	struct ttrpc_connection *connection = call->connection;

	ttrpc_call_drop(call);
	if (connection != NULL && !connection->is_closing)
		ttrpc_connection_close(connection);
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
	/* whether it was answered can't be told apart afterwards: who dies here has hung up */
	if (ttrpc_call_fd(call) >= 0)
		ttrpc_connection_keep(connection, false);
	if (ttrpc_call_fd(call) >= 0 && answer_with(call, response, pass_fd)) {
		fd = connection->source.fd;
		event_loop_remove(connection->server->loop, &connection->source);
	}
	call_free(call);
	if (connection != NULL && !connection->is_closing)
		ttrpc_connection_close(connection);
	return fd;
}

static const struct ttrpc_method *find_method(const struct ttrpc_method *methods, const Ttrpc__Request *request)
{
	for (const struct ttrpc_method *method = methods; method != NULL && method->service != NULL; method++) {
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
	call->method = find_method(call->server->methods, request);
	if (call->method == NULL)
		call->method = find_method(call->server->further_methods, request);
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

int ttrpc_server_adopt(struct ttrpc_server *self, int fd, struct error *err)
{
	struct ttrpc_connection *connection;

	if (!socket_peer_is_trusted(fd)) {
		(void) close(fd);
		return fail_because(err, EPERM, "the peer is another user");
	}
	return ttrpc_connection_open(&connection, self, fd, 0, err);
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
		ttrpc_connection_close(self->connections);
}

bool ttrpc_server_is_flushed(const struct ttrpc_server *self)
{
	for (const struct ttrpc_connection *connection = self->connections; connection != NULL; connection = connection->next) {
		if (connection->output != NULL)
			return false;
	}
	return true;
}
