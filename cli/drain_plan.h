/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which container goes where when a host is emptied, and which can't. Pure.
 */
#pragma once

#include "cli/host_report.h"

/* What a target keeps free for itself. */
#define DRAIN_SPARE_BYTES (64ULL << 20)

enum drain_order { DRAIN_SMALLEST_FIRST, DRAIN_LARGEST_FIRST, DRAIN_BY_NAME, DRAIN_YOUNGEST_FIRST };

struct drain_step {
	const struct host_container *container;
	const struct host_report *target; /* NULL: it can't be moved */
	char why[384];                    /* then: why not */
	char layer[80]; /* what has to be sent to the target below its writable layer, as a digest; drain_plan() leaves it "" */
};

/* Nothing that the target tells of itself is in the way. */
bool drain_target_fits(const struct host_container *container, const struct host_report *target);
/* One of the container's host for each of its containers, in the order in which they go; the caller frees. NULL: no memory.
 * The target with the most memory left takes it. */
struct drain_step *drain_plan(const struct host_report *from, const struct host_report *targets, size_t target_count, enum drain_order order);
