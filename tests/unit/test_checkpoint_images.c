/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "checkpoint/image_cursor.h"
#include "checkpoint/image_sleeps.h"
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

struct sleeper {
	uint8_t call, mode, signals; /* signals: bytes of those that wait */
	uint8_t r10, dx, si, di;
};

/* core_entry {mtype=1, thread_info=2: {clear_tid_addr=1, gpregs=2: {r10=8, ax=11: -4, dx=13, si=14, di=15, orig_ax=16, ip=17: 0x1081,
 * mode=28}}, tc=3: {signals_s=10: {}}} */
static size_t make_core(unsigned char *data, const struct sleeper *self)
{
	const unsigned char bytes[] = {MAGIC, 0, 0, 0, 0, 8, 1, 18, 38, 8, 0, 18, 34, 64, self->r10, 88, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff,
				       0xff, 0xff, 0xff, 0x01, 104, self->dx, 112, self->si, 120, self->di, 128, 1, (unsigned char) (0x80 | (self->call & 0x7f)),
				       self->call >> 7, 136, 1, 0x81, 0x21, 224, 1, self->mode, 0};
	size_t size = sizeof(bytes) - 1;

	memcpy(data, bytes, size);
	data[15] = (unsigned char) (size - 16);
	data[19] = (unsigned char) (size - 20);
	memcpy(data + size, (unsigned char[]){26, (unsigned char) (2 + self->signals), 82, self->signals, 10, 0}, 4U + self->signals);
	size += 4U + self->signals;
	data[8] = (unsigned char) (size - 12);
	return size;
}

static bool is_resumed(const struct sleeper *self)
{
	unsigned char data[80], before[80];
	size_t size = make_core(data, self);
	bool resumes;

	memcpy(before, data, size);
	resumes = image_sleeps_resume_in(data, size);
	CHECK(resumes == (memcmp(before, data, size) != 0));
	return resumes;
}

TEST(a_sleep_is_gone_on_with)
{
	unsigned char data[80];
	size_t size = make_core(data, &(struct sleeper){.call = 35, .di = 9, .si = 9, .mode = 1});
	const unsigned char call[10] = {0x80 | 35, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
	size_t at = 0;

	CHECK(image_sleeps_resume_in(data, size));
	while (at < size && data[at] != 88)
		at++;
	CHECK(memcmp(data + at + 1, call, sizeof(call)) == 0);
	while (at + 3 < size && !(data[at] == 136 && data[at + 1] == 1))
		at++;
	CHECK(data[at + 2] == (0x80 | 0x7f) && data[at + 3] == 0x20); /* the instruction before */
	CHECK(!image_sleeps_resume_in(data, size));
	CHECK(is_resumed(&(struct sleeper){.call = 230, .dx = 9, .r10 = 9, .mode = 1}));
}

TEST(what_is_no_such_sleep_stays_as_it_is)
{
	const struct sleeper others[] = {
		{.call = 35, .di = 9, .si = 8, .mode = 1},             /* the rest is elsewhere */
		{.call = 35, .di = 9, .mode = 1},                      /* nobody wants it */
		{.call = 7, .di = 9, .si = 9, .mode = 1},              /* poll */
		{.call = 35, .di = 9, .si = 9, .mode = 2},             /* a 32 bit program */
		{.call = 35, .di = 9, .si = 9, .mode = 1, .signals = 2},
		{.call = 230, .dx = 9, .r10 = 9, .si = 1, .mode = 1},  /* until a time */
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK(!is_resumed(&others[i]));
}

TEST(a_damaged_core_is_left_alone)
{
	for (size_t cut = 0; cut < 60; cut++) {
		unsigned char data[80], before[80];
		size_t size = make_core(data, &(struct sleeper){.call = 35, .di = 9, .si = 9, .mode = 1, .signals = 2});

		memcpy(before, data, size);
		CHECK(!image_sleeps_resume_in(data, cut < size ? cut : size) && memcmp(before, data, size) == 0);
	}
}
