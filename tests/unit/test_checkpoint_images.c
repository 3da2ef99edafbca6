/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "checkpoint/image_cursor.h"
#include "checkpoint/image_timers.h"
#include "tests/unit/harness.h"

#define MAGIC 1, 2, 3, 4, 5, 6, 7, 8

/* file_entry {type=1: 17, id=2: 5, tfd=12: {id=1, flags=2, fown=3: {}, clockid=4, ticks=5, settime_flags=6, vsec=7, vnsec=8, isec=9,
 * insec=10}} */
#define TIMER(value_s, value_ns, interval_s, interval_ns)                                                                      \
	26, 0, 0, 0, 8, 17, 16, 5, 98, 20, 8, 5, 16, 0, 26, 0, 32, 1, 40, 1, 48, 0, 56, value_s, 64, value_ns, 72, interval_s, 80, interval_ns

#define VALUE_NS(entry) (8 + (entry) * 30 + 25)

TEST(a_periodic_timer_that_has_gone_off_goes_on)
{
	unsigned char data[] = {MAGIC, TIMER(0, 0, 0, 20), TIMER(0, 0, 3, 0)};

	CHECK(image_timers_revive_in(data, sizeof(data)) == 2);
	CHECK(data[VALUE_NS(0)] == 1 && data[VALUE_NS(1)] == 1);
	CHECK(image_timers_revive_in(data, sizeof(data)) == 0);
}

TEST(other_timers_stay_as_they_are)
{
	unsigned char data[] = {MAGIC, TIMER(0, 0, 0, 0), TIMER(0, 7, 0, 20), TIMER(7, 0, 0, 20)};
	unsigned char before[sizeof(data)];

	memcpy(before, data, sizeof(data));
	CHECK(image_timers_revive_in(data, sizeof(data)) == 0);
	CHECK(memcmp(before, data, sizeof(data)) == 0);
}

TEST(a_damaged_image_is_left_alone)
{
	unsigned char data[] = {MAGIC, TIMER(0, 0, 0, 20)};

	for (size_t size = 0; size < sizeof(data); size++) {
		unsigned char cut[sizeof(data)];

		memcpy(cut, data, sizeof(data));
		CHECK(image_timers_revive_in(cut, size) == 0);
	}
}

TEST(a_message_is_only_taken_as_what_it_is)
{
	const unsigned char data[] = {98, 2, 8, 5, 16, 1};
	struct image_cursor cursor = {data, data + sizeof(data)}, message = {NULL, NULL};
	uint64_t number = 0, value = 0;

	CHECK(!image_cursor_take_message(&cursor, 11, &message) && cursor.at == data);
	CHECK(image_cursor_take_message(&cursor, 12, &message) && message.end - message.at == 2);
	CHECK(image_cursor_take_field(&cursor, &number, &value) && number == 2 && value == 1);
	CHECK(!image_cursor_take_message(&cursor, 12, &message));
}
