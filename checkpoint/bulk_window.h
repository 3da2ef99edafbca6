/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests in the background may be under way: enough that the network is never idle, and no more, for what waits in
 * its queues is in front of every page that a task waits for. It is known by the time that answers take beyond the
 * shortest one. Pure arithmetic.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BULK_REQUESTS_MIN  2U
#define BULK_REQUESTS_MAX  16U
#define BULK_UNDER_WAY_MAX 256U /* smaller ones */

struct bulk_request {
	uint64_t asked_ns;
	size_t pages;
};

struct bulk_window {
	size_t allowed; /* requests of full size (PAGES_PER_FRAME); more smaller ones */
	struct bulk_request under_way[BULK_UNDER_WAY_MAX]; /* in their order */
	size_t first, count, pages;
	uint64_t shortest_ns; /* 0: none was measured */
	size_t settling;      /* answers until it is measured again */
	uint32_t answers;
};

void bulk_window_init(struct bulk_window *self);
/* Another request may be made. */
bool bulk_window_has_room(const struct bulk_window *self);
void bulk_window_asked(struct bulk_window *self, size_t pages, uint64_t now_ns);
/* The oldest request was answered; by nothing but "empty": that tells nothing of the network. */
void bulk_window_answered(struct bulk_window *self, uint64_t now_ns, bool is_empty);
