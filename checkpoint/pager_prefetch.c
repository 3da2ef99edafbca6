/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pager asks for in the background: what a task goes through just now, then what was used recently at the source, then
 * everything else from where the last fault was.
 */
#include "checkpoint/pager.h"

#include "base/clock.h"
#include "checkpoint/pager_space.h"

/* Moved memory and pages that came before their area did may have been passed by. */
static void rewind_when_done(struct pager *self)
{
	if (self->cursor_space < self->space_count || (self->bulk.count > 0 && !self->has_jumped) || pager_is_complete(self))
		return;
	self->has_jumped = false;
	self->cursor_space = 0;
	for (size_t i = 0; i < self->space_count; i++)
		self->spaces[i]->cursor_range = self->spaces[i]->cursor_page = 0;
}

static int ask_in_background(struct pager *self, struct pager_space *space, struct page_range *range, size_t index, size_t count,
			     struct error *err)
{
	if (pager_request(self, space, range, index, count, false) < 0)
		return *err = self->error, err->code;
	for (size_t i = 0; i < count; i++)
		page_set_mark(&space->pages, range, index + i, PAGE_ASKED);
	bulk_window_asked(&self->bulk, count, clock_monotonic_ns());
	return 0;
}

int pager_prefetch_small(struct pager *self, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < self->space_count && r == 0; i++) {
		struct pager_space *space = self->spaces[i];

		for (size_t at = 0; at < space->pages.count && r == 0; at++) {
			struct page_range *range = &space->pages.ranges[at];
			size_t cursor = 0, index, count;

			while (r == 0 && range->count <= PAGES_PER_FRAME && self->bulk.count < BULK_REQUESTS_MAX &&
			       page_range_next(range, PAGE_MISSING, PAGES_PER_FRAME, &cursor, &index, &count))
				r = ask_in_background(self, space, range, index, count, err);
		}
	}
	return r;
}

/* From the cursor to the end, as far as the window goes. */
static int prefetch_on(struct pager *self, size_t *limit, struct error *err)
{
	while (self->is_restored && *limit > 0 && bulk_window_has_room(&self->bulk) && self->cursor_space < self->space_count) {
		struct pager_space *space = self->spaces[self->cursor_space];
		struct page_range *range;
		size_t index, count;

		if (space->is_gone || !page_set_next_missing(&space->pages, &space->cursor_range, &space->cursor_page,
							     PAGES_PER_FRAME, &range, &index, &count)) {
			self->cursor_space++;
			continue;
		}
		if (ask_in_background(self, space, range, index, count, err) < 0)
			return err->code;
		(*limit)--;
	}
	return 0;
}

static struct pager_space *space_of(const struct pager *self, uint32_t task)
{
	for (size_t i = 0; i < self->space_count; i++) {
		if ((uint32_t) self->spaces[i]->task == task && !self->spaces[i]->is_gone)
			return self->spaces[i];
	}
	return NULL;
}

/* What was used recently, wherever it is by now: a hint, nothing else. */
static int prefetch_hot(struct pager *self, struct error *err)
{
	struct heat_cursor *cursor = &self->heat_cursor;

	while (self->is_restored && bulk_window_has_room(&self->bulk) && cursor->range < self->heat.count) {
		const struct heat_range *hot = &self->heat.ranges[cursor->range];
		struct pager_space *space = space_of(self, hot->task);
		struct page_range *range;
		size_t index, count;

		if (cursor->address < hot->address)
			cursor->address = hot->address;
		if (space == NULL || !page_set_next_between(&space->pages, &cursor->address, heat_range_end(hot), PAGES_PER_FRAME, &range,
							    &index, &count)) {
			*cursor = (struct heat_cursor){.range = cursor->range + 1};
			continue;
		}
		if (ask_in_background(self, space, range, index, count, err) < 0)
			return err->code;
	}
	return 0;
}

int pager_prefetch(struct pager *self, struct error *err)
{
	size_t no_limit = SIZE_MAX;
	int r = prefetch_on(self, &self->follow, err);

	if (r == 0)
		r = prefetch_hot(self, err);
	rewind_when_done(self);
	if (r == 0)
		r = prefetch_on(self, &no_limit, err);
	/* what is new at the end, as with a task that forks all the time, must not keep what is before it waiting */
	rewind_when_done(self);
	return r < 0 ? r : prefetch_on(self, &no_limit, err);
}
