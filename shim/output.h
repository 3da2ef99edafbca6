/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container writes, on its way to its log: from the pipes into the queue (shim/queue.h), from there, in the log's format,
 * to the log. The queue is empty but for the moment, unless the log can't be written; then it is tried again every second,
 * and the policy says what becomes of further output:
 *
 *   spill        up to spill_size_bytes wait, beyond that the oldest are dropped    the application goes on
 *   drop-oldest  up to 64 KiB wait, beyond that the oldest are dropped              the application goes on
 *   block        it is not read                                                     the application waits
 *
 * Output of containerd's tasks goes into FIFOs instead, and waits in the same way while nobody reads these.
 *
 * Always: read = written + dropped + pending. The log says where bytes were dropped, and how many.
 *
 * One turn of the event loop writes OUTPUT_TURN_SIZE bytes of the application at most, and a single write is not larger than
 * OUTPUT_WRITE_SIZE: a slow disk holds the shim up for so long and no longer (docs/adr/0007-slow-disks.md).
 */
#pragma once

#include "base/event_loop.h"
#include "container.pb-c.h"
#include "shim/queue.h"

#define OUTPUT_TURN_SIZE  65536
#define OUTPUT_WRITE_SIZE 32768

struct output;

struct output_owner {
	struct event_loop *loop;
	int dir_fd; /* run directory */
	const char *id, *namespace;
	const int *pipes; /* NULL: to a log. Else where stdout and stderr go instead, as they are; may change (shim/queue.h) */
	void (*on_change)(void *context); /* output may flow again, or nothing is left to do */
	void (*on_gap)(void *context);    /* while it is opened: what a predecessor left is not understood, and was set aside */
	void *context;
};

struct output_counters {
	uint64_t read, written, dropped, pending; /* bytes of the application */
	const char *problem;                      /* why nothing is written now; NULL: it is */
	bool is_partial;                          /* they began anew at some time: the totals are unknown */
};

/* Goes on where a predecessor stopped. Fails only when the log is named wrongly or memory runs out: an unwritable log is not
 * the application's problem. The owner's strings must outlive it. */
int output_open(struct output **ret_self, const struct output_owner *owner, const Hydra__V1__LogConfig *config, struct error *err);
void output_free(struct output *self);

/* See queue_read_from(), queue_copy_newest(). */
ssize_t output_read_from(struct output *self, const struct queue_source *source);
size_t output_copy_newest(struct output *self, uint8_t bytes[static QUEUE_CHUNK_MAX], bool *ret_is_error);
/* Writes what waits, as far as a turn goes. */
void output_deliver(struct output *self);
/* No further output will come: one last attempt. */
void output_end(struct output *self);

/* Output must not be read now. */
bool output_holds_back(const struct output *self);
/* It is still writing and not stuck. */
bool output_is_busy(const struct output *self);
struct output_counters output_count(const struct output *self);

/* Another format, place, limit or policy from now on. On failure everything is as it was. */
int output_update(struct output *self, const Hydra__V1__LogConfig *config, struct error *err);
