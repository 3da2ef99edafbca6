/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a migration cost. Each side knows a part of it; they tell each other when all memory has arrived, so that both can say all of
 * it afterwards.
 */
#pragma once

#include "checkpoint/pager.h"
#include "handoff.pb-c.h"

#define SUMS_TASKS_MAX 64U

/* What the target knows, with the tasks that waited longest. NULL: no memory; free with hydra__v1__handoff_sums__free_unpacked. */
Hydra__V1__HandoffSums *sums_of_pager(const struct pager *pager, uint64_t lazy_us);
/* Of a DONE or ACKNOWLEDGED frame; NULL: the other side does not say. */
Hydra__V1__HandoffSums *sums_of_frame(const struct frame *frame);
/* More members of a progress line; the caller frees. sums may be NULL. */
char *sums_extra(const Hydra__V1__HandoffSums *sums);
