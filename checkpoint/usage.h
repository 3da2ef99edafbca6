/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What running tasks use of their memory, as far as the kernel tells: page by page what was written, where it tracks that (soft-dirty);
 * else, and for what was read, how much of each mapping. The tasks run on meanwhile.
 */
#pragma once

#include "checkpoint/heat.h"

#include <sys/types.h>

/* From here on it is noted. */
void usage_begin(pid_t init);
/* What was used since then, or as much of it as can be known. */
void usage_read(struct heat *ret_heat, pid_t init);

/* Private memory that is of huge pages. */
void usage_read_huge(struct heat *ret_heat, pid_t init);

/* The mappings of one task that it has used, from the text of its smaps, which is changed. */
struct usage_mapping {
	uint32_t task;
	uint32_t share; /* of what there is of it, in 1/256 */
	uint64_t start, end;
};

struct usage_mappings {
	struct usage_mapping *items;
	size_t count, capacity;
};

/* -ENOMEM */
int usage_parse(struct usage_mappings *self, uint32_t task, const char *smaps);
void usage_mappings_deinit(struct usage_mappings *self);
/* Behind what is there, those first of which most was used; none of which nearly nothing was. -ENOMEM */
int usage_order(struct usage_mappings *self, struct heat *heat);
