/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long tasks wait for pages: from the fault being read until its page is there. Pure; a wait that there is no memory to note is
 * not counted.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define STALLS_WAITING_MAX 4096U

struct stall {
	uint64_t address, since_ns;
};

struct stalls {
	struct stall *waiting; /* threads that wait now, several may for one page */
	size_t waiting_count, capacity;
	uint64_t count, sum_ns, max_ns; /* of those that are over */
};

/* Accepts a zeroed one. */
void stalls_deinit(struct stalls *self);
void stalls_begin(struct stalls *self, uint64_t address, uint64_t now_ns);
/* The pages of [from, to) are there. */
void stalls_end(struct stalls *self, uint64_t from, uint64_t to, uint64_t now_ns);
/* Both together. */
void stalls_add(struct stalls *self, const struct stalls *other);
