/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ttrpc client in an event loop: many calls in flight on one connection, none of them blocks.
 */
#pragma once

#include "base/event_loop.h"
#include "proto/ttrpc_frame.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct ttrpc_client;

/* response is NULL when the call failed (err says why); it goes after the return. */
typedef void ttrpc_answered(struct ttrpc_client *client, const ProtobufCMessage *response, const struct error *err,
			    void *user);

struct ttrpc_pending;

struct ttrpc_client {
	struct event_loop *loop;
	struct event_source source;
	struct ttrpc_reader reader;
	struct ttrpc_pending *pending;
	uint32_t next_stream_id;
	uint8_t *output;
	size_t output_size;
	/* The connection is gone; every pending call was told before. The client may be deinit'ed and freed in it. */
	void (*on_closed)(struct ttrpc_client *client);
	void *context;
};

/* Takes fd, which is made non-blocking. */
int ttrpc_client_init(struct ttrpc_client *self, struct event_loop *loop, int fd, struct error *err);
/* Forgets pending calls without telling them. */
void ttrpc_client_deinit(struct ttrpc_client *self);
bool ttrpc_client_is_open(const struct ttrpc_client *self);

int ttrpc_client_call(struct ttrpc_client *self, const char *service, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *response, ttrpc_answered *answered, void *user, struct error *err);
