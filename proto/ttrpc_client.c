/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_client.h"

#include "base/fd_pass.h"
#include "base/owned.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_STEP 16384

struct ttrpc_pending {
	uint32_t stream_id;
	const ProtobufCMessageDescriptor *response;
	ttrpc_answered *answered;
	void *user;
	struct ttrpc_pending *next;
};

static void hang_up(struct ttrpc_client *self)
{
	int fd = self->source.fd;

	event_loop_remove(self->loop, &self->source);
	owned_fd_release(&fd);
	ttrpc_reader_deinit(&self->reader);
	free(self->output);
	self->output = NULL;
	self->output_size = 0;
}

void ttrpc_client_deinit(struct ttrpc_client *self)
{
	hang_up(self);
	while (self->pending != NULL) {
		struct ttrpc_pending *pending = self->pending;

		self->pending = pending->next;
		free(pending);
	}
}

bool ttrpc_client_is_open(const struct ttrpc_client *self)
{
	return self->source.fd >= 0;
}

static void lose(struct ttrpc_client *self)
{
	struct error err;

	if (!ttrpc_client_is_open(self))
		return;
	hang_up(self);
	(void) fail_errno(&err, ECONNRESET, "the connection was closed");
	while (self->pending != NULL) {
		struct ttrpc_pending *pending = self->pending;

		self->pending = pending->next;
		pending->answered(self, NULL, &err, pending->user);
		free(pending);
	}
	if (self->on_closed != NULL)
		self->on_closed(self);
}

static bool flush(struct ttrpc_client *self)
{
	ssize_t sent = socket_send_now(self->source.fd, self->output, self->output_size);

	if (sent < 0)
		return false;
	if (sent > 0) {
		self->output_size -= (size_t) sent;
		memmove(self->output, self->output + sent, self->output_size);
	}
	event_loop_modify(self->loop, &self->source, self->output_size > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return true;
}

static struct ttrpc_pending *take_pending(struct ttrpc_client *self, uint32_t stream_id)
{
	for (struct ttrpc_pending **link = &self->pending; *link != NULL; link = &(*link)->next) {
		if ((*link)->stream_id == stream_id) {
			struct ttrpc_pending *found = *link;

			*link = found->next;
			return found;
		}
	}
	return NULL;
}

static void handle_frame(struct ttrpc_client *self)
{
	auto_free struct ttrpc_pending *pending = take_pending(self, self->reader.header.stream_id);
	auto_message ProtobufCMessage *message = NULL;
	struct error err = ERROR_NONE;

	if (pending == NULL || self->reader.header.type != TTRPC_RESPONSE)
		return;
	(void) ttrpc_parse_response(self->reader.data, self->reader.header.size, pending->response, &message, &err);
	pending->answered(self, message, &err, pending->user);
}

/* The client may be closed, never freed, while frames of one read are handed out. */
static bool handle_bytes(struct ttrpc_client *self, const uint8_t *bytes, size_t size)
{
	while (size > 0 && ttrpc_client_is_open(self)) {
		size_t taken;
		enum ttrpc_reader_result result = ttrpc_reader_push(&self->reader, bytes, size, &taken);

		bytes += taken;
		size -= taken;
		if (result == TTRPC_READER_NEEDS_MORE)
			continue;
		if (result != TTRPC_READER_FRAME)
			return false;
		handle_frame(self);
		ttrpc_reader_next(&self->reader);
	}
	return true;
}

static void handle_client(struct event_source *source, uint32_t events)
{
	struct ttrpc_client *self = source->context;
	uint8_t bytes[INPUT_STEP];
	bool goes_on = (events & EPOLLOUT) == 0 || flush(self);

	if (goes_on && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
		ssize_t got = recv(source->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (got > 0)
			goes_on = handle_bytes(self, bytes, (size_t) got);
		else
			goes_on = got < 0 && (errno == EAGAIN || errno == EINTR);
	}
	if (!goes_on)
		lose(self);
}

int ttrpc_client_init(struct ttrpc_client *self, struct event_loop *loop, int fd, struct error *err)
{
	auto_close int owned = fd;
	int r;

	*self = (struct ttrpc_client){
		.loop = loop,
		.source = {.handle = handle_client, .context = self, .fd = FD_NONE},
		.next_stream_id = 1,
	};
	(void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r = event_loop_add(loop, &self->source, fd, EPOLLIN, err);
	if (r == 0)
		(void) take_fd(&owned);
	return r;
}

static int queue(struct ttrpc_client *self, const uint8_t *frame, size_t size, struct error *err)
{
	uint8_t *larger = realloc(self->output, self->output_size + size);

	if (larger == NULL)
		return fail_errno(err, ENOMEM, "send a request");
	memcpy(larger + self->output_size, frame, size);
	self->output = larger;
	self->output_size += size;
	/* a dead connection shows itself in the loop, which tells everybody */
	(void) flush(self);
	return 0;
}

int ttrpc_client_call(struct ttrpc_client *self, const char *service, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *response, ttrpc_answered *answered, void *user, struct error *err)
{
	auto_free struct ttrpc_pending *pending = NULL;
	auto_free uint8_t *frame = NULL;
	size_t size;
	int r;

	if (!ttrpc_client_is_open(self))
		return fail_errno(err, ECONNRESET, "call %s", method);
	pending = calloc(1, sizeof(*pending));
	if (pending == NULL)
		return fail_errno(err, ENOMEM, "call %s", method);
	r = ttrpc_build_request(self->next_stream_id, service, method, request, NULL, &frame, &size, err);
	if (r == 0)
		r = queue(self, frame, size, err);
	if (r < 0)
		return r;
	*pending = (struct ttrpc_pending){.stream_id = self->next_stream_id,
					  .response = response,
					  .answered = answered,
					  .user = user,
					  .next = self->pending};
	self->pending = take_ptr(&pending);
	self->next_stream_id += 2;
	return 0;
}
