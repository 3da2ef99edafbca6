/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ttrpc server in an event loop. Calls may be answered at once or later, in any order.
 *
 * Peers whose user is neither root nor ours are hung up on. A client that goes away ends
 * nothing but its own calls: their on_abandoned is told, and answering them afterwards is harmless.
 */
#pragma once

#include "base/event_loop.h"
#include "proto/ttrpc_call.h"
#include "proto/ttrpc_frame.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct ttrpc_server;
struct ttrpc_connection;

struct ttrpc_call {
	struct ttrpc_connection *connection; /* NULL: the client is gone */
	struct ttrpc_server *server;
	uint32_t stream_id;
	const struct ttrpc_method *method;
	uint8_t *request; /* as it came, a ttrpc.Request */
	size_t request_size;
	bool was_begun;   /* see ttrpc_call_begin(); by us or by a predecessor */
	uint64_t kept_at; /* the keeper's; 0: it is not kept */
	void *user;                                    /* the handler's */
	void (*on_abandoned)(struct ttrpc_call *call); /* the client went away; the call is still to be answered */
	struct ttrpc_call *next;                       /* of the same connection */
	struct ttrpc_call *waiting_next;               /* the handler's, for lists of waiting calls */
};

/* Keeps connections and calls for a successor, should this process be killed (shim/calls.c). */
struct ttrpc_keeper {
	/* The connection is where a successor can go on with it, or it is not any more. Only called when that changes. */
	void (*keep)(struct ttrpc_connection *connection, bool is_kept);
	/* A request that is whole, and about to be taken from its socket; sets kept_at if it is kept. */
	void (*keep_call)(struct ttrpc_call *call);
	/* The next bytes of a request that arrives in pieces, seen and about to be taken; then they are. False: it is not kept. */
	bool (*keep_piece)(struct ttrpc_connection *connection, const uint8_t *bytes, size_t size);
	void (*take_piece)(struct ttrpc_connection *connection, size_t size);
	/* The request is whole and kept as a call, or the connection ends. */
	void (*forget_pieces)(struct ttrpc_connection *connection);
	/* was_begun is set now. */
	void (*begin_call)(struct ttrpc_call *call);
	/* It is answered, or nobody waits for it any more. */
	void (*forget_call)(struct ttrpc_call *call);
};

struct ttrpc_method {
	const char *service;
	const char *name;
	const ProtobufCMessageDescriptor *request;
	/* Must answer with ttrpc_reply(), ttrpc_refuse() or ttrpc_take_over(), now or later. request goes after the return. */
	void (*handle)(struct ttrpc_call *call, const ProtobufCMessage *request);
};

struct ttrpc_server {
	struct event_loop *loop;
	struct event_source listener;
	const struct ttrpc_method *methods; /* ends with service == NULL */
	const struct ttrpc_method *further_methods; /* of another service, as methods; NULL: none */
	void *context;                      /* the program's */
	struct ttrpc_connection *connections;
	unsigned connection_count;
	unsigned connections_max; /* further ones wait in the backlog */
	const struct ttrpc_keeper *keeper; /* NULL: nothing is kept */
	void (*on_hangup)(struct ttrpc_server *self); /* a connection is gone; may be NULL */
};

/* listen_fd stays the caller's. */
int ttrpc_server_init(struct ttrpc_server *self, struct event_loop *loop, int listen_fd,
		      const struct ttrpc_method *methods, void *context, struct error *err);
/* Hangs up on everybody. */
void ttrpc_server_deinit(struct ttrpc_server *self);
/* Serves an already connected socket too; takes fd. */
int ttrpc_server_adopt(struct ttrpc_server *self, int fd, struct error *err);
/* True when every answer has left. */
bool ttrpc_server_is_flushed(const struct ttrpc_server *self);

/* From here on the call has effects: should it be handled again, was_begun says so. */
void ttrpc_call_begin(struct ttrpc_call *call);
/* Closes its connection without an answer. */
void ttrpc_call_hang_up(struct ttrpc_call *call);

void ttrpc_reply(struct ttrpc_call *call, const ProtobufCMessage *response);
void ttrpc_reply_empty(struct ttrpc_call *call);
void ttrpc_refuse(struct ttrpc_call *call, enum ttrpc_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Refuses with the code that stands for err. */
void ttrpc_refuse_error(struct ttrpc_call *call, const struct error *err);
/* The socket that the call came through, still the server's; FD_NONE: the client is gone. */
int ttrpc_call_fd(const struct ttrpc_call *call);
/* Answers with success, and with a copy of pass_fd unless that is FD_NONE, and takes the connection's socket for something else;
 * the caller owns it. What the client sent behind its request is still to be read there. FD_NONE: the client is gone. */
int ttrpc_take_over(struct ttrpc_call *call, const ProtobufCMessage *response, int pass_fd);
