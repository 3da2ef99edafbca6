/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd_pass.h"
#include "base/owned.h"
#include "proto/message.h"
#include "proto/ttrpc_client.h"
#include "proto/ttrpc_server.h"
#include "shim.pb-c.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

TEST(a_frame_arrives_in_any_pieces)
{
	struct ttrpc_header header = {.size = 5, .stream_id = 3, .type = TTRPC_REQUEST};
	uint8_t bytes[TTRPC_HEADER_SIZE + 5];
	struct ttrpc_reader reader = {0};
	size_t taken;

	ttrpc_header_write(&header, bytes);
	memcpy(bytes + TTRPC_HEADER_SIZE, "hello", 5);
	for (size_t i = 0; i + 1 < sizeof(bytes); i++)
		CHECK(ttrpc_reader_push(&reader, bytes + i, 1, &taken) == TTRPC_READER_NEEDS_MORE && taken == 1);
	CHECK(ttrpc_reader_push(&reader, bytes + sizeof(bytes) - 1, 1, &taken) == TTRPC_READER_FRAME);
	CHECK(reader.header.stream_id == 3 && memcmp(reader.data, "hello", 5) == 0);
	ttrpc_reader_next(&reader);
	CHECK(ttrpc_reader_push(&reader, bytes, sizeof(bytes), &taken) == TTRPC_READER_FRAME && taken == sizeof(bytes));
	ttrpc_reader_deinit(&reader);
}

TEST(an_oversized_frame_is_thrown_away_and_the_next_one_read)
{
	struct ttrpc_header header = {.size = TTRPC_DATA_MAX + 1, .stream_id = 1, .type = TTRPC_REQUEST};
	uint8_t bytes[TTRPC_HEADER_SIZE];
	static uint8_t data[65536];
	struct ttrpc_reader reader = {0};
	size_t left = TTRPC_DATA_MAX + 1;
	size_t taken;

	ttrpc_header_write(&header, bytes);
	CHECK(ttrpc_reader_push(&reader, bytes, sizeof(bytes), &taken) == TTRPC_READER_NEEDS_MORE);
	CHECK(reader.data == NULL);
	while (left > sizeof(data)) {
		CHECK(ttrpc_reader_push(&reader, data, sizeof(data), &taken) == TTRPC_READER_NEEDS_MORE);
		left -= taken;
	}
	CHECK(ttrpc_reader_push(&reader, data, left, &taken) == TTRPC_READER_OVERSIZED && taken == left);
	ttrpc_reader_next(&reader);
	CHECK(!reader.has_header);
}

static struct ttrpc_call *kept;

static void echo(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__WaitRequest *request = (const void *) message;
	Hydra__V1__WaitRequest response = HYDRA__V1__WAIT_REQUEST__INIT;

	if (strcmp(request->exec_id, "keep") == 0) {
		kept = call;
		return;
	}
	if (strcmp(request->exec_id, "refuse") == 0) {
		ttrpc_refuse(call, TTRPC_NOT_FOUND, "no exec '%s'", request->exec_id);
		return;
	}
	response.exec_id = request->exec_id;
	ttrpc_reply(call, &response.base);
}

static const struct ttrpc_method methods[] = {
	{"test.Echo", "Echo", &hydra__v1__wait_request__descriptor, echo},
	{NULL, NULL, NULL, NULL},
};

struct conversation {
	struct event_loop loop;
	struct ttrpc_server server;
	struct ttrpc_client client;
	int answers;
	int last_code;
	char last[512];
};

static void conversation_init(struct conversation *self)
{
	struct error err;
	int pair[2];

	memset(self, 0, sizeof(*self));
	self->server.listener.fd = FD_NONE;
	CHECK(event_loop_init(&self->loop, &err) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	self->server = (struct ttrpc_server){
		.loop = &self->loop, .listener.fd = FD_NONE, .methods = methods, .connections_max = 4};
	CHECK(ttrpc_server_adopt(&self->server, pair[0], &err) == 0);
	CHECK(ttrpc_client_init(&self->client, &self->loop, pair[1], &err) == 0);
}

static void conversation_deinit(struct conversation *self)
{
	ttrpc_client_deinit(&self->client);
	ttrpc_server_deinit(&self->server);
	event_loop_deinit(&self->loop);
}

static void answered(struct ttrpc_client *client, const ProtobufCMessage *message, const struct error *err, void *user)
{
	struct conversation *self = user;

	(void) client;
	self->answers++;
	self->last_code = err->code;
	(void) snprintf(self->last, sizeof(self->last), "%s",
			message != NULL ? ((const Hydra__V1__WaitRequest *) (const void *) message)->exec_id : err->message);
}

static void ask(struct conversation *self, const char *method, char *text)
{
	Hydra__V1__WaitRequest request = HYDRA__V1__WAIT_REQUEST__INIT;
	struct error err;

	request.exec_id = text;
	CHECK(ttrpc_client_call(&self->client, "test.Echo", method, &request.base, &hydra__v1__wait_request__descriptor,
				answered, self, &err) == 0);
}

static void turn_until(struct conversation *self, int answers)
{
	for (int i = 0; i < 100 && self->answers < answers; i++)
		event_loop_turn(&self->loop, 1000);
	CHECK(self->answers == answers);
}

static char hello[] = "hello", keep[] = "keep", refuse[] = "refuse";

TEST(a_call_is_answered_and_errors_keep_their_meaning)
{
	struct conversation self;

	conversation_init(&self);
	ask(&self, "Echo", hello);
	turn_until(&self, 1);
	CHECK(strcmp(self.last, "hello") == 0);
	ask(&self, "Echo", refuse);
	turn_until(&self, 2);
	CHECK(self.last_code == -ENOENT && strcmp(self.last, "no exec 'refuse'") == 0);
	ask(&self, "Missing", hello);
	turn_until(&self, 3);
	CHECK(self.last_code == -ENOSYS);
	conversation_deinit(&self);
}

TEST(a_late_answer_overtakes_nobody)
{
	Hydra__V1__WaitRequest response = HYDRA__V1__WAIT_REQUEST__INIT;
	struct conversation self;

	conversation_init(&self);
	ask(&self, "Echo", keep);
	ask(&self, "Echo", hello);
	turn_until(&self, 1);
	CHECK(strcmp(self.last, "hello") == 0 && kept != NULL);
	response.exec_id = keep;
	ttrpc_reply(kept, &response.base);
	turn_until(&self, 2);
	CHECK(strcmp(self.last, "keep") == 0);
	conversation_deinit(&self);
}

static int abandoned;

static void note_abandoned(struct ttrpc_call *call)
{
	(void) call;
	abandoned++;
}

TEST(answering_a_client_that_went_away_is_harmless)
{
	struct conversation self;

	conversation_init(&self);
	kept = NULL;
	ask(&self, "Echo", keep);
	while (kept == NULL)
		event_loop_turn(&self.loop, 1000);
	kept->on_abandoned = note_abandoned;
	ttrpc_client_deinit(&self.client);
	while (self.server.connections != NULL)
		event_loop_turn(&self.loop, 1000);
	CHECK(abandoned == 1);
	ttrpc_reply_empty(kept);
	conversation_deinit(&self);
}
