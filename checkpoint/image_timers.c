/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.img: 8 bytes of magic, then records {u32 length, file_entry}. A zero takes one byte in protobuf, and so does a one: nothing
 * moves.
 */
#include "checkpoint/image_timers.h"

#include <errno.h>
#include <fcntl.h>

#include "base/file.h"
#include "base/owned.h"
#include "checkpoint/image_cursor.h"
#include "checkpoint/images.h"

#define FILES_IMAGE "files.img"
#define MAGIC_SIZE  8

enum {
	FILE_TIMERFD = 12, /* in file_entry */
	TIMER_VALUE_S = 7, TIMER_VALUE_NS = 8, TIMER_INTERVAL_S = 9, TIMER_INTERVAL_NS = 10, /* in timerfd_entry */
};

struct timer {
	uint64_t value_s, interval_s, interval_ns;
	const unsigned char *zero; /* where the nanoseconds are; NULL: there are some */
};

static bool parse_timer(struct image_cursor entry, struct timer *ret_timer)
{
	*ret_timer = (struct timer){.zero = NULL};
	while (entry.at < entry.end) {
		uint64_t number, value = 0;

		if (!image_cursor_take_field(&entry, &number, &value))
			return false;
		if (number == TIMER_VALUE_S)
			ret_timer->value_s = value;
		else if (number == TIMER_VALUE_NS)
			ret_timer->zero = value == 0 ? entry.at - 1 : NULL;
		else if (number == TIMER_INTERVAL_S)
			ret_timer->interval_s = value;
		else if (number == TIMER_INTERVAL_NS)
			ret_timer->interval_ns = value;
	}
	return true;
}

static bool revive(unsigned char *data, struct image_cursor entry)
{
	struct image_cursor message;
	struct timer timer;

	while (entry.at < entry.end) {
		uint64_t number, value;

		if (image_cursor_take_message(&entry, FILE_TIMERFD, &message)) {
			if (!parse_timer(message, &timer) || timer.zero == NULL || timer.value_s != 0 ||
			    (timer.interval_s == 0 && timer.interval_ns == 0))
				return false;
			data[timer.zero - data] = 1;
			return true;
		}
		if (!image_cursor_take_field(&entry, &number, &value))
			return false;
	}
	return false;
}

size_t image_timers_revive_in(unsigned char *data, size_t size)
{
	struct image_cursor cursor = {data + (size < MAGIC_SIZE ? size : MAGIC_SIZE), data + size};
	size_t count = 0;

	while (cursor.at < cursor.end) {
		uint32_t length;

		if (!image_cursor_take_u32(&cursor, &length) || length > cursor.end - cursor.at)
			return count;
		count += revive(data, (struct image_cursor){cursor.at, cursor.at + length});
		cursor.at += length;
	}
	return count;
}

int image_timers_revive(int images_fd, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(images_fd, FILES_IMAGE, IMAGE_FILE_MAX, &data, &size, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || image_timers_revive_in((unsigned char *) data, size) == 0)
		return r;
	return file_replace_fast(images_fd, FILES_IMAGE, data, size, 0600, err);
}
