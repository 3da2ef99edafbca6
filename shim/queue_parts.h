/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to the queue: its oldest chunk.
 */
#pragma once

#include "shim/queue.h"

#define QUEUE_HEADER_SIZE 16 /* of a chunk in the file; chunks stand at multiples of it */

/* False when the queue is empty, or the file does not hold what it should. */
bool queue_oldest_chunk(struct queue *self, struct queue_chunk *ret_chunk);
/* It is taken: the next one is the oldest. */
void queue_step(struct queue *self, const struct queue_chunk *chunk);
/* Everything that waits in the file is gone. */
void queue_lose_all(struct queue *self);
/* What a predecessor, or we, began to deliver: counts what of it the kernel did. Not committed. */
void queue_finish_delivering(struct queue *self);
