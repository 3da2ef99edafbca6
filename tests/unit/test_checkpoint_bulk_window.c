/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "checkpoint/bulk_window.h"
#include "checkpoint/frames.h"
#include "tests/unit/harness.h"

/* A network that takes each answer send_ns, one after the other, and way_ns there and back. */
static size_t settle(uint64_t send_ns, uint64_t way_ns, bool is_empty)
{
	struct bulk_window window;
	uint64_t now = 1, free_at = 1, arrives[BULK_REQUESTS_MAX] = {0};
	size_t from = 0, to = 0;

	bulk_window_init(&window);
	for (int i = 0; i < 5000; i++) {
		while (bulk_window_has_room(&window)) {
			bulk_window_asked(&window, PAGES_PER_FRAME, now);
			free_at = (free_at > now + way_ns / 2 ? free_at : now + way_ns / 2) + send_ns;
			arrives[to++ % BULK_REQUESTS_MAX] = free_at + way_ns / 2;
		}
		now = arrives[from++ % BULK_REQUESTS_MAX];
		bulk_window_answered(&window, now, is_empty);
	}
	return window.allowed;
}

TEST(a_fast_network_gets_many_requests)
{
	CHECK(settle(NS_PER_MS / 5, NS_PER_MS / 10, false) >= 10);
}

TEST(a_slow_network_gets_just_enough_to_be_busy)
{
	size_t requests = settle(2 * NS_PER_MS, NS_PER_MS / 10, false);

	CHECK(requests >= 2 && requests <= 3);
}

TEST(a_long_way_is_filled)
{
	CHECK(settle(2 * NS_PER_MS, 20 * NS_PER_MS, false) >= 10);
}

TEST(a_network_slower_than_any_budget_has_hardly_any_under_way)
{
	CHECK(settle(250 * NS_PER_MS, NS_PER_MS, false) <= BULK_REQUESTS_MIN + 1);
}

TEST(empty_answers_tell_nothing)
{
	CHECK(settle(1000, 1000, true) == 4);
}

TEST(a_way_that_becomes_longer_is_got_used_to)
{
	struct bulk_window window;
	uint64_t now = 1;

	bulk_window_init(&window);
	for (int i = 0; i < 3000; i++) {
		bulk_window_asked(&window, PAGES_PER_FRAME, now);
		now += i < 500 ? NS_PER_MS : 10 * NS_PER_MS;
		bulk_window_answered(&window, now, false);
	}
	CHECK(window.allowed == BULK_REQUESTS_MAX);
}

TEST(more_small_requests_than_large_ones_may_be_under_way)
{
	struct bulk_window window;
	size_t count = 0;

	bulk_window_init(&window);
	for (; bulk_window_has_room(&window); count++)
		bulk_window_asked(&window, 2, 1);
	CHECK(count == 4 * PAGES_PER_FRAME / 2);
	while (window.count > 0)
		bulk_window_answered(&window, 2, true);
	CHECK(window.pages == 0 && bulk_window_has_room(&window));
}

TEST(answers_that_nobody_asked_for_do_no_harm)
{
	struct bulk_window window;

	bulk_window_init(&window);
	bulk_window_answered(&window, 5, false);
	CHECK(window.count == 0 && window.allowed == 4);
}
