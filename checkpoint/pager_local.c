/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hybrid: pages that came in the round, while the container ran at the source, and were not written since. The source is not needed for
 * them, nor is the network.
 */
#include "checkpoint/pager.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "checkpoint/pager_space.h"

#define WINDOW_PAGES  16U /* that a fault brings along */
#define RUNS_PER_TURN 4U

int pager_load_local(struct pager *self, const int *tasks, size_t count, struct error *err)
{
	self->locals = calloc(count + 1, sizeof(*self->locals));
	if (self->locals == NULL)
		return fail_errno(err, ENOMEM, "prepare for pages that are here");
	self->local_count = count;
	for (size_t i = 0; i < count; i++) {
		if (local_pages_load(&self->locals[i], self->images_fd, tasks[i], err) < 0)
			return err->code;
	}
	return 0;
}

static const struct local_pages *locals_of(const struct pager_space *space)
{
	const struct pager *pager = space->pager;

	for (size_t i = 0; i < pager->local_count; i++) {
		if (pager->locals[i].task == space->task)
			return &pager->locals[i];
	}
	return NULL;
}

void pager_find_local(struct pager_space *self)
{
	const struct local_pages *locals = locals_of(self);

	for (size_t i = 0; locals != NULL && i < locals->count; i++) {
		const struct local_run *run = &locals->runs[i];

		for (uint64_t page = 0; page < run->pages; page++) {
			size_t index;
			struct page_range *range = page_set_find(&self->pages, run->address + page * PAGE_BYTES, &index);

			if (range != NULL)
				page_set_mark(&self->pages, range, index, PAGE_LOCAL);
		}
	}
}

/* Whatever becomes of it while it is installed, none of it is local afterwards: at worst it comes from the source. */
static void place(struct pager_space *self, uint64_t source, size_t count)
{
	const struct local_pages *locals = locals_of(self);

	while (count > 0 && self->fd >= 0 && !self->pager->has_failed) {
		size_t run = 0;
		const unsigned char *data = locals != NULL ? local_pages_find(locals, source, &run) : NULL;

		if (data == NULL)
			return;
		run = run < count ? run : count;
		pager_space_install(self, source, run, data);
		fault_point("pager.local");
		source += (uint64_t) run * PAGE_BYTES;
		count -= run;
	}
}

void pager_place_around(struct pager_space *self, const struct page_range *range, size_t index)
{
	size_t first = index - index % WINDOW_PAGES, last = index;

	while (range->states[first] != PAGE_LOCAL)
		first++;
	while (last < range->count && last < first + WINDOW_PAGES && range->states[last] == PAGE_LOCAL)
		last++;
	for (size_t i = first; i < index; i++)
		first = range->states[i] == PAGE_LOCAL ? first : i + 1;
	place(self, range->source + (uint64_t) first * PAGE_BYTES, last - first);
}

/* The next run from the cursor on; the ranges may be others afterwards. */
static bool place_next(struct pager_space *self)
{
	for (; self->local_range < self->pages.count; self->local_range++, self->local_page = 0) {
		const struct page_range *range = &self->pages.ranges[self->local_range];
		size_t index, count;

		if (!page_range_next(range, PAGE_LOCAL, PAGES_PER_FRAME, &self->local_page, &index, &count))
			continue;
		place(self, range->source + (uint64_t) index * PAGE_BYTES, count);
		return true;
	}
	self->local_range = self->local_page = 0; /* ranges that moved may have been passed by */
	return false;
}

bool pager_place_local(struct pager *self)
{
	size_t runs = 0;

	if (!self->is_restored)
		return false;
	for (size_t i = 0; i < self->space_count && runs < RUNS_PER_TURN && !self->has_failed; i++) {
		struct pager_space *space = self->spaces[i];

		while (space->fd >= 0 && space->pages.local_count > 0 && runs < RUNS_PER_TURN) {
			(void) place_next(space);
			runs++;
		}
	}
	return runs > 0;
}
