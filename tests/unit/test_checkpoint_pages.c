/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/owned.h"
#include "checkpoint/bulk_window.h"
#include "checkpoint/fault_window.h"
#include "checkpoint/frames.h"
#include "checkpoint/images.h"
#include "checkpoint/page_set.h"
#include "checkpoint/pager.h"
#include "checkpoint/pager_space.h"
#include "tests/unit/harness.h"

#define P ((uint64_t) PAGE_BYTES)

static size_t index_of(const struct page_set *set, uint64_t address)
{
	size_t index = 999;

	return page_set_find(set, address, &index) != NULL ? index : 999;
}

TEST(ranges_must_come_in_order)
{
	struct page_set set = {0};

	CHECK(page_set_add(&set, 10 * P, 5) == 0);
	CHECK(page_set_add(&set, 14 * P, 1) == -EINVAL);
	CHECK(page_set_add(&set, 15 * P, 0) == -EINVAL);
	CHECK(page_set_add(&set, 15 * P + 1, 1) == -EINVAL);
	CHECK(page_set_add(&set, 15 * P, (size_t) 1 << 60) == -EINVAL);
	CHECK(page_set_add(&set, 15 * P, 2) == 0);
	CHECK(set.open_count == 7);
	page_set_deinit(&set);
}

TEST(a_page_is_found_where_it_is)
{
	struct page_set set = {0};

	CHECK(page_set_add(&set, 10 * P, 5) == 0 && page_set_add(&set, 20 * P, 1) == 0);
	CHECK(index_of(&set, 10 * P) == 0);
	CHECK(index_of(&set, 14 * P + 7) == 4);
	CHECK(index_of(&set, 15 * P) == 999);
	CHECK(index_of(&set, 9 * P) == 999);
	CHECK(index_of(&set, 20 * P) == 0);
	page_set_deinit(&set);
}

TEST(forgotten_pages_need_not_come)
{
	struct page_set set = {0};

	CHECK(page_set_add(&set, 10 * P, 5) == 0 && page_set_add(&set, 15 * P, 5) == 0);
	page_set_forget(&set, 13 * P, 17 * P);
	CHECK(set.open_count == 6);
	page_set_forget(&set, 0, 100 * P);
	CHECK(set.open_count == 0);
	page_set_deinit(&set);
}

TEST(moved_pages_keep_where_they_came_from)
{
	struct page_set set = {0};
	struct page_range *range;
	size_t index = 0;

	CHECK(page_set_add(&set, 10 * P, 10) == 0);
	CHECK(page_set_move(&set, 13 * P, 16 * P, 100 * P) == 0);
	CHECK(set.open_count == 10);
	CHECK(index_of(&set, 14 * P) == 999);
	range = page_set_find(&set, 101 * P, &index);
	CHECK(range != NULL && range->source + index * P == 14 * P);
	range = page_set_find_source(&set, 15 * P, &index);
	CHECK(range != NULL && range->start + index * P == 102 * P);
	range = page_set_find_source(&set, 17 * P, &index);
	CHECK(range != NULL && range->start + index * P == 17 * P);
	page_set_deinit(&set);
}

TEST(moved_pages_bury_what_was_at_their_target)
{
	struct page_set set = {0};
	struct page_range *range;
	size_t index = 0;

	CHECK(page_set_add(&set, 10 * P, 10) == 0 && page_set_add(&set, 30 * P, 10) == 0);
	CHECK(page_set_move(&set, 10 * P, 12 * P, 33 * P) == 0);
	CHECK(set.open_count == 18);
	range = page_set_find(&set, 34 * P, &index);
	CHECK(range != NULL && range->source + index * P == 11 * P);
	CHECK(page_set_find_source(&set, 33 * P, &index) == NULL);
	range = page_set_find_source(&set, 35 * P, &index);
	CHECK(range != NULL && range->start + index * P == 35 * P);
	page_set_deinit(&set);
}

TEST(a_copy_is_independent)
{
	struct page_set set = {0}, copy;

	CHECK(page_set_add(&set, 10 * P, 4) == 0);
	CHECK(page_set_copy(&set, &copy) == 0);
	page_set_forget(&set, 10 * P, 14 * P);
	CHECK(copy.open_count == 4 && set.open_count == 0);
	page_set_deinit(&set);
	page_set_deinit(&copy);
}

TEST(pages_that_are_here_do_not_come_from_the_source)
{
	struct page_set set = {0}, copy;

	CHECK(page_set_add(&set, 10 * P, 10) == 0);
	page_set_mark(&set, &set.ranges[0], 3, PAGE_LOCAL);
	page_set_mark(&set, &set.ranges[0], 4, PAGE_LOCAL);
	CHECK(set.open_count == 10 && page_set_remote(&set) == 8);
	CHECK(page_set_copy(&set, &copy) == 0 && page_set_remote(&copy) == 8);
	page_set_mark(&set, &set.ranges[0], 3, PAGE_INSTALLED);
	page_set_mark(&set, &set.ranges[0], 5, PAGE_INSTALLED);
	CHECK(set.open_count == 8 && set.local_count == 1 && page_set_remote(&set) == 7);
	page_set_deinit(&set);
	page_set_deinit(&copy);
}

TEST(missing_pages_are_found_in_runs)
{
	struct page_set set = {0};
	struct page_range *range;
	size_t at = 0, page = 0, index, count;

	CHECK(page_set_add(&set, 10 * P, 10) == 0);
	page_set_mark(&set, &set.ranges[0], 3, PAGE_INSTALLED);
	CHECK(page_set_next_missing(&set, &at, &page, 64, &range, &index, &count) && index == 0 && count == 3);
	CHECK(page_set_next_missing(&set, &at, &page, 4, &range, &index, &count) && index == 4 && count == 4);
	CHECK(page_set_next_missing(&set, &at, &page, 4, &range, &index, &count) && index == 8 && count == 2);
	CHECK(!page_set_next_missing(&set, &at, &page, 4, &range, &index, &count));
	page_set_deinit(&set);
}

TEST(missing_pages_between_two_addresses_are_found)
{
	struct page_set set = {0};
	struct page_range *range;
	uint64_t from = 5 * P;
	size_t index, count;

	CHECK(page_set_add(&set, 10 * P, 10) == 0 && page_set_add(&set, 30 * P, 10) == 0);
	page_set_mark(&set, &set.ranges[0], 8, PAGE_INSTALLED);
	CHECK(page_set_next_between(&set, &from, 32 * P, 7, &range, &index, &count) && range == &set.ranges[0] && index == 0 && count == 7);
	CHECK(page_set_next_between(&set, &from, 32 * P, 7, &range, &index, &count) && index == 7 && count == 1);
	CHECK(page_set_next_between(&set, &from, 32 * P, 7, &range, &index, &count) && index == 9 && count == 1);
	CHECK(page_set_next_between(&set, &from, 32 * P, 7, &range, &index, &count) && range == &set.ranges[1] && index == 0 && count == 2);
	CHECK(!page_set_next_between(&set, &from, 32 * P, 7, &range, &index, &count) && from == 32 * P);
	page_set_deinit(&set);
}

TEST(every_page_in_a_state_is_found_in_runs_of_a_limited_length)
{
	struct page_set set = {0};
	size_t cursor = 0, index, count;

	CHECK(page_set_add(&set, 10 * P, 20) == 0);
	for (size_t i = 2; i < 13; i++)
		page_set_mark(&set, &set.ranges[0], i, PAGE_AWAITED);
	page_set_mark(&set, &set.ranges[0], 14, PAGE_AWAITED);
	CHECK(page_range_next(&set.ranges[0], PAGE_AWAITED, 5, &cursor, &index, &count) && index == 2 && count == 5);
	CHECK(page_range_next(&set.ranges[0], PAGE_AWAITED, 5, &cursor, &index, &count) && index == 7 && count == 5);
	CHECK(page_range_next(&set.ranges[0], PAGE_AWAITED, 5, &cursor, &index, &count) && index == 12 && count == 1);
	CHECK(page_range_next(&set.ranges[0], PAGE_AWAITED, 5, &cursor, &index, &count) && index == 14 && count == 1);
	CHECK(!page_range_next(&set.ranges[0], PAGE_AWAITED, 5, &cursor, &index, &count));
	page_set_deinit(&set);
}

TEST(a_fault_brings_its_missing_neighbours)
{
	struct page_set set = {0};
	size_t first, count;

	CHECK(page_set_add(&set, 0x1000 * P, 40) == 0);
	page_range_around(&set.ranges[0], 20, 16, &first, &count);
	CHECK(first == 16 && count == 16);
	page_set_mark(&set, &set.ranges[0], 18, PAGE_ASKED);
	page_set_mark(&set, &set.ranges[0], 25, PAGE_INSTALLED);
	page_range_around(&set.ranges[0], 20, 16, &first, &count);
	CHECK(first == 19 && count == 6);
	page_range_around(&set.ranges[0], 39, 16, &first, &count);
	CHECK(first == 32 && count == 8);
	page_set_deinit(&set);
}

static size_t fault_at(struct fault_window *window, uint64_t page)
{
	size_t pages = fault_window_next(window, page * P, 64);

	fault_window_asked(window, (page - page % pages) * P, (page - page % pages + pages) * P);
	return pages;
}

TEST(a_task_that_goes_through_its_memory_gets_more_at_a_time)
{
	struct fault_window window = {0};

	CHECK(fault_at(&window, 1024) == 16);
	CHECK(fault_at(&window, 1040) == 32);
	CHECK(fault_at(&window, 1056) == 64);
	CHECK(fault_at(&window, 1152) == 64);
}

TEST(backwards_is_in_order_too)
{
	struct fault_window window = {0};

	CHECK(fault_at(&window, 1024) == 16);
	CHECK(fault_at(&window, 1023) == 32);
	CHECK(fault_at(&window, 991) == 64);
}

TEST(a_task_that_jumps_about_gets_less_at_a_time)
{
	struct fault_window window = {0};

	CHECK(fault_at(&window, 1024) == 16);
	CHECK(fault_at(&window, 90000) == 8);
	CHECK(fault_at(&window, 500) == 4);
	CHECK(fault_at(&window, 70000) == 4);
	CHECK(fault_at(&window, 70004) == 8);
}

/* magic, head {pages_id = 1}, {vaddr = 0x10000, 3 pages, lazy}, {vaddr = 0x20000, 1 page, present} */
static const unsigned char pagemap[] = {0x19, 0x43, 0x56, 0x54, 0x25, 0x40, 0x08, 0x56, 2, 0, 0, 0, 0x08, 0x01,
					8, 0, 0, 0, 0x08, 0x80, 0x80, 0x04, 0x10, 3, 0x20, 2,
					8, 0, 0, 0, 0x08, 0x80, 0x80, 0x08, 0x10, 1, 0x20, 4};

TEST(a_pagemap_gives_its_lazy_pages)
{
	struct page_set set = {0};
	struct error err;

	CHECK(pagemap_parse(pagemap, sizeof(pagemap), 3, &set, &err) == 0);
	CHECK(set.open_count == 3 && set.count == 1 && set.ranges[0].start == 0x10000);
	page_set_deinit(&set);
}

TEST(a_cut_pagemap_is_refused)
{
	struct error err;

	for (size_t size = 0; size < sizeof(pagemap); size++) {
		struct page_set set = {0};
		int r = pagemap_parse(pagemap, size, 3, &set, &err);

		CHECK(r == -EPROTO || size == 8 || size == 14 || size == 26);
		page_set_deinit(&set);
	}
}

TEST(a_pagemaps_name_tells_its_task)
{
	CHECK(pagemap_task_of("pagemap-12.img") == 12);
	CHECK(pagemap_task_of("pagemap-shmem-12.img") == 0);
	CHECK(pagemap_task_of("pagemap-12.img.old") == 0);
	CHECK(pagemap_task_of("pagemap--1.img") == 0);
}

static void check_asked(struct link *link, uint64_t address, uint32_t count)
{
	struct page_frame request;

	memcpy(&request, link->output + link->output_from + FRAME_HEADER_SIZE, sizeof(request));
	CHECK(request.address == address && request.count == count);
	link->output_from += FRAME_HEADER_SIZE + sizeof(request);
}

TEST(what_was_used_recently_is_asked_for_first)
{
	struct transport transport = {.fd = FD_NONE};
	struct page_set pages = {0};
	struct heat_range hot[] = {{1, 2, 0x10000 + 100 * P}, {9, 2, 0x10000}, {1, 100, 0x10000 + 500 * P}, {1, 1, 0}};
	struct link link;
	struct pager pager = {.link = &link, .is_restored = true, .images_fd = FD_NONE, .listen_fd = FD_NONE, .criu_fd = FD_NONE,
			      .keeper_fd = FD_NONE, .heat = {.ranges = hot, .count = 4}};
	struct error err;

	link_init(&link, &transport);
	bulk_window_init(&pager.bulk);
	pager.bulk.allowed = 2;
	CHECK(page_set_add(&pages, 0x10000, 4096) == 0 && pager_add_space(&pager, 1, &pages) != NULL);
	CHECK(pager_prefetch(&pager, &err) == 0 && pager.bulk.count == 4);
	check_asked(&link, 0x10000 + 100 * P, 2);
	check_asked(&link, 0x10000 + 500 * P, 64);
	check_asked(&link, 0x10000 + 564 * P, 36);
	check_asked(&link, 0x10000, 64);
	pager.heat_cursor = (struct heat_cursor){0};
	pager.follow = 1; /* a task goes through its memory: a little of that is before all else */
	bulk_window_init(&pager.bulk);
	page_set_mark(&pager.spaces[0]->pages, &pager.spaces[0]->pages.ranges[0], 101, PAGE_MISSING);
	CHECK(pager_prefetch(&pager, &err) == 0 && pager.follow == 0);
	check_asked(&link, 0x10000 + 64 * P, 36);
	check_asked(&link, 0x10000 + 101 * P, 1);
	page_set_deinit(&pager.spaces[0]->pages);
	free(pager.spaces[0]);
	free(pager.spaces);
	link_deinit(&link);
}

/* Each fork brings another address space: the cursor is never behind the last one when the pager looks. */
TEST(a_task_that_forks_all_the_time_does_not_keep_others_waiting)
{
	struct transport transport = {.fd = FD_NONE};
	struct page_set pages = {0}, none = {0};
	struct link link;
	struct pager pager = {.link = &link, .is_restored = true, .images_fd = FD_NONE, .listen_fd = FD_NONE, .criu_fd = FD_NONE,
			      .keeper_fd = FD_NONE};
	struct error err;

	link_init(&link, &transport);
	bulk_window_init(&pager.bulk);
	CHECK(page_set_add(&pages, 0x10000, 8) == 0 && pager_add_space(&pager, 1, &pages) != NULL);
	pager.cursor_space = 1; /* a fault behind them had taken it there */
	CHECK(pager_add_space(&pager, 1, &none) != NULL);
	CHECK(pager_prefetch(&pager, &err) == 0 && pager.bulk.count == 1);
	for (size_t i = 0; i < pager.space_count; i++) {
		page_set_deinit(&pager.spaces[i]->pages);
		free(pager.spaces[i]);
	}
	free(pager.spaces);
	link_deinit(&link);
}
