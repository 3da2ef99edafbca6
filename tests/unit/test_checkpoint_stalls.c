/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/stalls.h"
#include "tests/unit/harness.h"

TEST(a_wait_lasts_until_its_page_is_there)
{
	struct stalls stalls = {.waiting = 0};

	stalls_begin(&stalls, 0x1000, 100);
	stalls_end(&stalls, 0x2000, 0x3000, 150);
	CHECK(stalls.count == 0 && stalls.waiting_count == 1);
	stalls_end(&stalls, 0x0000, 0x2000, 400);
	CHECK(stalls.count == 1 && stalls.sum_ns == 300 && stalls.max_ns == 300 && stalls.waiting_count == 0);
	stalls_end(&stalls, 0x0000, 0x2000, 500);
	CHECK(stalls.count == 1);
	stalls_deinit(&stalls);
}

TEST(several_threads_wait_for_one_page)
{
	struct stalls stalls = {.waiting = 0};

	stalls_begin(&stalls, 0x1000, 100);
	stalls_begin(&stalls, 0x1000, 200);
	stalls_begin(&stalls, 0x5000, 200);
	stalls_end(&stalls, 0x1000, 0x2000, 300);
	CHECK(stalls.count == 2 && stalls.sum_ns == 300 && stalls.max_ns == 200 && stalls.waiting_count == 1);
	stalls_deinit(&stalls);
}

TEST(more_that_wait_than_can_be_noted_are_not_counted)
{
	struct stalls stalls = {.waiting = 0};

	for (unsigned i = 0; i < STALLS_WAITING_MAX + 10; i++)
		stalls_begin(&stalls, i * 0x1000ULL, 1);
	stalls_end(&stalls, 0, ~0ULL, 2);
	CHECK(stalls.count == STALLS_WAITING_MAX && stalls.waiting_count == 0);
	stalls_deinit(&stalls);
}

TEST(sums_add_up_and_the_longest_stays_the_longest)
{
	struct stalls one = {.count = 2, .sum_ns = 10, .max_ns = 7}, other = {.count = 3, .sum_ns = 5, .max_ns = 3};

	stalls_add(&one, &other);
	CHECK(one.count == 5 && one.sum_ns == 15 && one.max_ns == 7);
}
