/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/page_set.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/frames.h"

static uint64_t range_end(const struct page_range *range)
{
	return range->start + (uint64_t) range->count * PAGE_BYTES;
}

static bool is_open(enum page_state state)
{
	return state == PAGE_MISSING || state == PAGE_ASKED || state == PAGE_AWAITED || state == PAGE_LOCAL;
}

void page_set_deinit(struct page_set *self)
{
	for (size_t i = 0; i < self->count; i++)
		free(self->ranges[i].states);
	free(self->ranges);
	*self = (struct page_set){0};
}

static int insert(struct page_set *self, size_t at, const struct page_range *range)
{
	struct page_range *grown = self->ranges;

	if ((self->count & (self->count - 1)) == 0) /* grows at powers of two */
		grown = reallocarray(self->ranges, self->count == 0 ? 1 : self->count * 2, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	self->ranges = grown;
	memmove(grown + at + 1, grown + at, (self->count - at) * sizeof(*grown));
	grown[at] = *range;
	self->count++;
	return 0;
}

int page_set_add(struct page_set *self, uint64_t address, size_t page_count)
{
	struct page_range range = {.start = address, .source = address, .count = page_count};
	uint64_t before = self->count > 0 ? range_end(&self->ranges[self->count - 1]) : 0;
	int r;

	if (page_count == 0 || address % PAGE_BYTES != 0 || address < before ||
	    page_count > (UINT64_MAX - address) / PAGE_BYTES)
		return -EINVAL;
	range.states = calloc(page_count, 1);
	if (range.states == NULL)
		return -ENOMEM;
	r = insert(self, self->count, &range);
	if (r < 0)
		free(range.states);
	else
		self->open_count += page_count;
	return r;
}

int page_set_copy(const struct page_set *self, struct page_set *ret_copy)
{
	struct page_set copy = {.open_count = self->open_count, .local_count = self->local_count, .was_moved = self->was_moved};

	for (size_t i = 0; i < self->count; i++) {
		struct page_range range = self->ranges[i];

		range.states = malloc(range.count);
		if (range.states == NULL || insert(&copy, copy.count, &range) < 0) {
			free(range.states);
			page_set_deinit(&copy);
			return -ENOMEM;
		}
		memcpy(range.states, self->ranges[i].states, range.count);
	}
	*ret_copy = copy;
	return 0;
}

/* The first range that ends after address. */
static size_t lower_bound(const struct page_set *self, uint64_t address)
{
	size_t low = 0, high = self->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (range_end(&self->ranges[middle]) <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct page_range *page_set_find(const struct page_set *self, uint64_t address, size_t *ret_index)
{
	size_t at = lower_bound(self, address);

	if (at == self->count || address < self->ranges[at].start)
		return NULL;
	*ret_index = (address - self->ranges[at].start) / PAGE_BYTES;
	return &self->ranges[at];
}

struct page_range *page_set_find_source(const struct page_set *self, uint64_t source, size_t *ret_index)
{
	if (!self->was_moved)
		return page_set_find(self, source, ret_index);
	for (size_t i = 0; i < self->count; i++) {
		struct page_range *range = &self->ranges[i];

		if (source >= range->source && (source - range->source) / PAGE_BYTES < range->count) {
			*ret_index = (source - range->source) / PAGE_BYTES;
			return range;
		}
	}
	return NULL;
}

void page_set_mark(struct page_set *self, struct page_range *range, size_t index, enum page_state state)
{
	bool was = is_open(range->states[index]), was_local = range->states[index] == PAGE_LOCAL;

	assert(index < range->count);
	range->states[index] = (uint8_t) state;
	self->open_count += (size_t) is_open(state);
	self->open_count -= (size_t) was;
	self->local_count += (size_t) (state == PAGE_LOCAL);
	self->local_count -= (size_t) was_local;
}

size_t page_set_remote(const struct page_set *self)
{
	return self->open_count - self->local_count;
}

void page_set_forget(struct page_set *self, uint64_t start, uint64_t end)
{
	for (size_t i = lower_bound(self, start); i < self->count && self->ranges[i].start < end; i++) {
		struct page_range *range = &self->ranges[i];
		size_t first = start > range->start ? (start - range->start) / PAGE_BYTES : 0;
		size_t last = end < range_end(range) ? (end - range->start + PAGE_BYTES - 1) / PAGE_BYTES : range->count;

		for (; first < last; first++)
			page_set_mark(self, range, first, PAGE_FORGOTTEN);
	}
}

/* Cuts the range around address in two, unless a range begins there anyway. */
static int split(struct page_set *self, uint64_t address)
{
	size_t at = lower_bound(self, address), pages;
	struct page_range *range, rest;
	int r;

	if (at == self->count || self->ranges[at].start >= address)
		return 0;
	range = &self->ranges[at];
	pages = (address - range->start) / PAGE_BYTES;
	rest = (struct page_range){.start = address, .source = range->source + pages * PAGE_BYTES,
				   .count = range->count - pages};
	rest.states = malloc(rest.count);
	if (rest.states == NULL)
		return -ENOMEM;
	memcpy(rest.states, range->states + pages, rest.count);
	r = insert(self, at + 1, &rest);
	if (r < 0) {
		free(rest.states);
		return r;
	}
	self->ranges[at].count = pages;
	return 0;
}

/* Takes ranges of [start, end) out of the order; both ends are boundaries. Returns how many, at ret_first. */
static size_t cut_out(struct page_set *self, uint64_t start, uint64_t end, struct page_range **ret_taken)
{
	size_t first = lower_bound(self, start), last = first;

	while (last < self->count && self->ranges[last].start < end)
		last++;
	*ret_taken = NULL;
	if (last == first)
		return 0;
	*ret_taken = calloc(last - first, sizeof(**ret_taken));
	if (*ret_taken == NULL)
		abort();
	memcpy(*ret_taken, self->ranges + first, (last - first) * sizeof(**ret_taken));
	memmove(self->ranges + first, self->ranges + last, (self->count - last) * sizeof(*self->ranges));
	self->count -= last - first;
	return last - first;
}

int page_set_move(struct page_set *self, uint64_t start, uint64_t end, uint64_t target)
{
	uint64_t target_end = target + (end - start);
	struct page_range *moved;
	size_t moved_count;
	int r = split(self, start);

	if (r == 0)
		r = split(self, end);
	if (r < 0)
		return r;
	moved_count = cut_out(self, start, end, &moved);
	page_set_forget(self, target, target_end); /* whatever was there has been unmapped */
	if (moved_count > 0) {
		struct page_range *buried;
		size_t buried_count;

		r = split(self, target);
		if (r == 0)
			r = split(self, target_end);
		buried_count = r < 0 ? 0 : cut_out(self, target, target_end, &buried);
		for (size_t i = 0; i < buried_count; i++)
			free(buried[i].states);
		if (r == 0)
			free(buried);
		self->was_moved = true;
	}
	for (size_t i = 0; r == 0 && i < moved_count; i++) {
		moved[i].start = target + (moved[i].start - start);
		r = insert(self, lower_bound(self, moved[i].start), &moved[i]);
	}
	free(moved);
	return r;
}

bool page_range_next(const struct page_range *range, enum page_state state, size_t limit, size_t *cursor, size_t *ret_index,
		     size_t *ret_count)
{
	size_t index = *cursor, count = 0;

	while (index < range->count && range->states[index] != state)
		index++;
	while (index + count < range->count && count < limit && range->states[index + count] == state)
		count++;
	*cursor = index + count;
	*ret_index = index;
	*ret_count = count;
	return count > 0;
}

bool page_set_next_missing(const struct page_set *self, size_t *cursor_range, size_t *cursor_page, size_t limit,
			   struct page_range **ret_range, size_t *ret_index, size_t *ret_count)
{
	for (; *cursor_range < self->count; (*cursor_range)++, *cursor_page = 0) {
		*ret_range = &self->ranges[*cursor_range];
		if (page_range_next(*ret_range, PAGE_MISSING, limit, cursor_page, ret_index, ret_count))
			return true;
	}
	return false;
}

bool page_set_next_between(const struct page_set *self, uint64_t *from, uint64_t end, size_t limit, struct page_range **ret_range,
			   size_t *ret_index, size_t *ret_count)
{
	for (size_t at = lower_bound(self, *from); at < self->count && self->ranges[at].start < end; at++) {
		struct page_range part = self->ranges[at];
		size_t cursor = *from > part.start ? (*from - part.start) / PAGE_BYTES : 0;
		size_t pages = (end - part.start + PAGE_BYTES - 1) / PAGE_BYTES;

		if (pages < part.count)
			part.count = pages;
		if (!page_range_next(&part, PAGE_MISSING, limit, &cursor, ret_index, ret_count))
			continue;
		*ret_range = &self->ranges[at];
		*from = part.start + (uint64_t) cursor * PAGE_BYTES;
		return true;
	}
	*from = end;
	return false;
}

void page_range_around(const struct page_range *range, size_t index, size_t window, size_t *ret_first, size_t *ret_count)
{
	size_t first = index - index % window;
	size_t last = first + window < range->count ? first + window : range->count;

	while (first < index && range->states[first] != PAGE_MISSING)
		first++;
	for (size_t i = first; i < index; i++) { /* what is there between splits the run */
		if (range->states[i] != PAGE_MISSING)
			first = i + 1;
	}
	for (size_t i = index + 1; i < last; i++) {
		if (range->states[i] != PAGE_MISSING)
			last = i;
	}
	*ret_first = first;
	*ret_count = last - first;
}
