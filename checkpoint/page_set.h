/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of one address space are still at the source. Pure arithmetic, no system calls.
 *
 * A range remembers where its pages are now and where they were when the source was frozen, because a task may move
 * its memory (mremap) before all of it has arrived.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum page_state {
	PAGE_MISSING,
	PAGE_ASKED,     /* on its way in the background */
	PAGE_AWAITED,   /* asked for because a task waits */
	PAGE_INSTALLED,
	PAGE_LOCAL,     /* missing, but its content is on this host */
	PAGE_FORGOTTEN, /* the task gave it back: it reads as zero */
};

struct page_range {
	uint64_t start;  /* address now */
	uint64_t source; /* address then */
	size_t count;
	uint8_t *states; /* enum page_state of each */
};

struct page_set {
	struct page_range *ranges; /* sorted by start, never overlapping */
	size_t count;
	size_t open_count; /* pages that have to come or to be forgotten */
	size_t local_count; /* of them, those whose content is on this host */
	bool was_moved;    /* source addresses are not sorted any more */
};

void page_set_deinit(struct page_set *self);
/* Ranges are added in ascending order. -EINVAL when they are not, overlap or wrap; -ENOMEM. */
int page_set_add(struct page_set *self, uint64_t address, size_t page_count);
int page_set_copy(const struct page_set *self, struct page_set *ret_copy);

/* The range that holds the page now at address (or then at source); NULL: none. */
struct page_range *page_set_find(const struct page_set *self, uint64_t address, size_t *ret_index);
struct page_range *page_set_find_source(const struct page_set *self, uint64_t source, size_t *ret_index);

void page_set_mark(struct page_set *self, struct page_range *range, size_t index, enum page_state state);
/* Pages that have to come from the source. */
size_t page_set_remote(const struct page_set *self);
/* Pages of [start, end) are not wanted any more. */
void page_set_forget(struct page_set *self, uint64_t start, uint64_t end);
/* Memory at [start, end) is now at target. -ENOMEM. */
int page_set_move(struct page_set *self, uint64_t start, uint64_t end, uint64_t target);

/* The next run of at most limit missing pages at or after *cursor (range number << 32 | page); false: there is none.
 * Moves the cursor behind the run. */
bool page_set_next_missing(const struct page_set *self, size_t *cursor_range, size_t *cursor_page, size_t limit,
			   struct page_range **ret_range, size_t *ret_index, size_t *ret_count);
/* The same for missing pages that are now in [*from, end): moves *from behind the run, or to end. */
bool page_set_next_between(const struct page_set *self, uint64_t *from, uint64_t end, size_t limit, struct page_range **ret_range,
			   size_t *ret_index, size_t *ret_count);
/* The next run, of at most limit pages, of pages in this state at or after *cursor, which is moved behind it. */
bool page_range_next(const struct page_range *range, enum page_state state, size_t limit, size_t *cursor, size_t *ret_index,
		     size_t *ret_count);
/* Pages around index worth fetching together: the window of window pages that index is in, without what is there. */
void page_range_around(const struct page_range *range, size_t index, size_t window, size_t *ret_first, size_t *ret_count);
