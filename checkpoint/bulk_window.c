/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/bulk_window.h"

#include "base/clock.h"
#include "checkpoint/frames.h"

#define REQUESTS_FIRST 4U
/* What may wait in the network's queues, in time. */
#define GROW_BELOW_NS   (2 * NS_PER_MS)
#define SHRINK_ABOVE_NS (4 * NS_PER_MS)
/* The shortest answer is forgotten after so many, for the way may have become longer; it is measured again with few under way,
 * so that it is not our own queue that is measured. */
#define FORGET_AFTER    1024U
#define MEASURED        4U

void bulk_window_init(struct bulk_window *self)
{
	*self = (struct bulk_window){.allowed = REQUESTS_FIRST};
}

bool bulk_window_has_room(const struct bulk_window *self)
{
	return self->pages < self->allowed * PAGES_PER_FRAME && self->count < BULK_UNDER_WAY_MAX;
}

void bulk_window_asked(struct bulk_window *self, size_t pages, uint64_t now_ns)
{
	if (self->count == BULK_UNDER_WAY_MAX)
		return;
	self->under_way[(self->first + self->count++) % BULK_UNDER_WAY_MAX] = (struct bulk_request){now_ns, pages};
	self->pages += pages;
}

static uint64_t shorter(uint64_t one, uint64_t other)
{
	return one == 0 || other < one ? other : one;
}

static void note_shortest(struct bulk_window *self, uint64_t took)
{
	if (++self->answers % FORGET_AFTER == 0) {
		self->settling = self->count + MEASURED;
		self->allowed = BULK_REQUESTS_MIN;
	} else if (self->settling > 0 && self->settling-- == MEASURED) {
		self->shortest_ns = 0;
	}
	self->shortest_ns = shorter(self->shortest_ns, took);
}

void bulk_window_answered(struct bulk_window *self, uint64_t now_ns, bool is_empty)
{
	uint64_t took;

	if (self->count == 0)
		return;
	took = now_ns - self->under_way[self->first].asked_ns + 1;
	self->pages -= self->under_way[self->first].pages;
	self->first = (self->first + 1) % BULK_UNDER_WAY_MAX;
	self->count--;
	if (is_empty)
		return;
	note_shortest(self, took);
	if (took - self->shortest_ns > SHRINK_ABOVE_NS && self->allowed > BULK_REQUESTS_MIN)
		self->allowed--;
	else if (took - self->shortest_ns < GROW_BELOW_NS && self->settling == 0 && self->allowed < BULK_REQUESTS_MAX)
		self->allowed++;
}
