/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/fault_window.h"

#include <stdbool.h>

#include "checkpoint/frames.h"

/* What comes meanwhile in the background lets a task in order skip some of it without a fault. */
static bool is_in_order(const struct fault_window *self, uint64_t address)
{
	uint64_t reach = (uint64_t) self->pages * 2 * PAGE_BYTES;

	if (address >= self->end)
		return address - self->end < reach;
	return address < self->start && self->start - address <= reach;
}

size_t fault_window_next(struct fault_window *self, uint64_t address, size_t limit)
{
	if (self->end == 0)
		self->pages = FAULT_WINDOW_FIRST;
	else if (is_in_order(self, address))
		self->pages = self->pages * 2 < limit ? self->pages * 2 : limit;
	else
		self->pages = self->pages / 2 > FAULT_WINDOW_MIN ? self->pages / 2 : FAULT_WINDOW_MIN;
	return self->pages;
}

void fault_window_asked(struct fault_window *self, uint64_t start, uint64_t end)
{
	self->start = start;
	self->end = end;
}
