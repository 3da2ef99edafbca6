/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to the ttrpc server: one client.
 */
#pragma once

#include "proto/ttrpc_server.h"

struct ttrpc_connection {
	struct ttrpc_server *server;
	struct event_source source;
	struct ttrpc_reader reader;
	struct ttrpc_call *calls;
	uint8_t *output;
	size_t output_size;
	size_t output_sent;
	uint32_t number; /* the keeper's name for it; 0: it has none yet */
	bool is_reading_pieces; /* a part of a frame is in the reader */
	uint64_t arriving_at; /* the keeper's, of those pieces; 0: they are not kept */
	size_t arrived;
	bool waits_for_header; /* a part of one is in the socket */
	bool is_kept;    /* a successor could go on with it */
	bool is_closing; /* to be freed when the current round of input is through */
	bool is_reading; /* frames are being handled: freeing waits */
	struct ttrpc_connection *next;
};

/* Takes fd. number: the keeper's name for it, 0 when it has none. */
int ttrpc_connection_open(struct ttrpc_connection **ret_self, struct ttrpc_server *server, int fd, uint32_t number, struct error *err);
/* At once, or when the input being handled is through. */
void ttrpc_connection_close(struct ttrpc_connection *self);
/* Handles what has arrived. False: the connection can't go on. */
bool ttrpc_connection_push(struct ttrpc_connection *self, const uint8_t *bytes, size_t size);
/* Queues bytes behind what waits and sends what goes. False: the client is gone, or does not read. */
bool ttrpc_connection_send(struct ttrpc_connection *self, const uint8_t *bytes, size_t size);
/* Tells the keeper, if there is one and it is news to it. */
void ttrpc_connection_keep(struct ttrpc_connection *self, bool is_kept);
void ttrpc_call_keep(struct ttrpc_call *call);
void ttrpc_call_forget(struct ttrpc_call *call);
/* Without an answer. */
void ttrpc_call_drop(struct ttrpc_call *call);
/* NULL: no memory. */
struct ttrpc_call *ttrpc_call_new(struct ttrpc_connection *connection, uint32_t stream_id);
/* Handles a call whose request (a ttrpc.Request) is set. */
void ttrpc_call_dispatch(struct ttrpc_call *call);
