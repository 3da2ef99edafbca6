/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait for their turn: the runtime works on a container once at a time, and clients need not know.
 */
#pragma once

#include "proto/ttrpc_server.h"

#include <stdbool.h>

struct container;

/* True: an operation is under way, and the call is handled again, with a copy of the message, when it has ended. */
bool deferred_add(struct container *container, struct ttrpc_call *call, const ProtobufCMessage *message);
/* The same without a reason of its own. False: no memory. */
bool deferred_hold(struct container *container, struct ttrpc_call *call, const ProtobufCMessage *message);
/* An operation has ended: handles the call that waits longest. */
void deferred_run(struct container *container);
/* Refuses all that wait: the container goes. */
void deferred_refuse(struct container *container);
