/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which memory was used recently, the most used first. It goes with the images, so that who fetches the pages begins with these. Nothing
 * is wrong when it is wrong, or missing.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define HEAT_FILE       "hydra-heat.img" /* a message Heat of proto/checkpoint.proto */
#define HUGE_FILE       "hydra-huge.img" /* the same: which memory was of huge pages */
#define HUGE_PAGES      512U /* in one of 2 MiB */
#define HEAT_RANGES_MAX 16384U
#define HEAT_BYTES_MAX  (1U << 20)

struct heat_range {
	uint32_t task; /* pid in the container */
	uint32_t pages;
	uint64_t address;
};

struct heat {
	struct heat_range *ranges;
	size_t count, capacity;
};

struct heat_cursor {
	size_t range;
	uint64_t address;
};

void heat_deinit(struct heat *self);
/* -ENOMEM. What continues the last one becomes a part of it. */
int heat_add(struct heat *self, const struct heat_range *range);
/* Leaves at most limit ranges, by joining those that have little between them. In the order of tasks and addresses before and after. */
void heat_thin(struct heat *self, size_t limit);
uint64_t heat_range_end(const struct heat_range *range);

int heat_write(const struct heat *self, int images_fd, const char *name, struct error *err);
/* Empty when there is none that makes sense. */
void heat_load(struct heat *ret_heat, int images_fd, const char *name);
/* -EPROTO. */
int heat_parse(struct heat *ret_heat, const void *data, size_t size, struct error *err);
