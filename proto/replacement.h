/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another binary in the place of a resident program (base/reexec.h), as far as that is the same in all of them: who asks for it waits
 * until the program is quiet, and is answered by the new binary, or by this one when nothing comes of it.
 */
#pragma once

#include "base/event_loop.h"
#include "base/reexec.h"
#include "proto/ttrpc_server.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct replacement_program {
	/* No request is half handled, and nothing is under way that the new binary could not go on with. */
	bool (*is_quiet)(const void *context);
	/* Seals its state and calls replacement_execute(). Returns only when that failed. */
	int (*execute)(void *context, const char *path, struct error *err);
	/* Nothing came of it; err NULL: who asked for it went away. */
	void (*gave_up)(void *context, const struct error *err);
};

struct replacement {
	struct ttrpc_call *call; /* that asked for it; NULL: none is under way, and nothing else here means anything */
	char *path;
	struct event_timer timer;
	struct event_loop *loop;
	const struct replacement_program *program;
	void *context;
};

/* Takes or refuses the call. self is all zeros at first; program and loop outlive it, context is the program's. */
void replacement_ask(struct replacement *self, struct ttrpc_call *call, const char *path, const struct replacement_program *program,
		     struct event_loop *loop, void *context);
/* Something came to its end: may be the time. The new binary is executed from the event loop itself. */
void replacement_consider(struct replacement *self);

typedef void sealed_fds_visit(const ProtobufCMessage *sealed, void (*visit)(int fd));

/* sealed NULL: there was no memory for it. argv as for reexec(). */
int replacement_execute(const char *path, const char *const *argv, const ProtobufCMessage *sealed, sealed_fds_visit *visit_fds,
			struct error *err);
/* The state that the binary before left, still to be checked with seal_check(). whose: "hydrad", for people. Free with message_free(). */
int replacement_read(const struct reexec_options *options, const ProtobufCMessageDescriptor *descriptor, const char *whose,
		     ProtobufCMessage **ret_sealed, struct error *err);
