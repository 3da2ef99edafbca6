/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/owned.h"
#include "checkpoint.pb-c.h"
#include "checkpoint/frames.h"
#include "checkpoint/heat.h"
#include "checkpoint/usage.h"
#include "tests/unit/harness.h"

#define P ((uint64_t) PAGE_BYTES)

static void add(struct heat *heat, uint32_t task, uint64_t page, uint32_t pages)
{
	CHECK(heat_add(heat, &(struct heat_range){.task = task, .pages = pages, .address = page * P}) == 0);
}

static bool is_at(const struct heat *heat, size_t index, uint32_t task, uint64_t page, uint32_t pages)
{
	const struct heat_range *range = &heat->ranges[index];

	return index < heat->count && range->task == task && range->address == page * P && range->pages == pages;
}

TEST(what_goes_on_is_one_range)
{
	struct heat heat = {0};

	add(&heat, 1, 10, 2);
	add(&heat, 1, 12, 1);
	add(&heat, 2, 13, 1);
	CHECK(heat.count == 2 && is_at(&heat, 0, 1, 10, 3) && is_at(&heat, 1, 2, 13, 1));
	heat_deinit(&heat);
}

TEST(too_many_ranges_become_fewer_where_little_is_between)
{
	struct heat heat = {0};

	add(&heat, 1, 10, 1);
	add(&heat, 1, 12, 1);
	add(&heat, 1, 90, 1);
	add(&heat, 2, 92, 1);
	heat_thin(&heat, 4);
	CHECK(heat.count == 4);
	heat_thin(&heat, 3);
	CHECK(heat.count == 3 && is_at(&heat, 0, 1, 10, 3) && is_at(&heat, 1, 1, 90, 1) && is_at(&heat, 2, 2, 92, 1));
	heat_thin(&heat, 1);
	CHECK(heat.count == 1 && heat.ranges[0].address == 10 * P);
	heat_deinit(&heat);
}

TEST(it_is_read_as_it_was_written)
{
	struct heat heat = {0}, read;
	char path[] = "/tmp/heatXXXXXX";
	auto_close int images = mkdtemp(path) != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	struct error err;

	heat_load(&read, images, HEAT_FILE);
	CHECK(read.count == 0);
	add(&heat, 7, 0x7fff12345, 64);
	add(&heat, 1, 3, 1);
	add(&heat, 1, 0x7ffffffff, 1);
	CHECK(heat_write(&heat, images, HEAT_FILE, &err) == 0);
	heat_load(&read, images, HEAT_FILE);
	CHECK(read.count == 3 && is_at(&read, 0, 7, 0x7fff12345, 64) && is_at(&read, 1, 1, 3, 1) && is_at(&read, 2, 1, 0x7ffffffff, 1));
	heat_deinit(&heat);
	heat_deinit(&read);
	(void) unlinkat(images, HEAT_FILE, 0);
	(void) rmdir(path);
}

static int parse(size_t count, uint32_t task, int64_t step, uint32_t pages, size_t page_counts)
{
	Hydra__V1__Heat message = HYDRA__V1__HEAT__INIT;
	auto_free uint32_t *tasks = calloc(count + 1, sizeof(*tasks)), *many = calloc(count + 1, sizeof(*many));
	auto_free int64_t *steps = calloc(count + 1, sizeof(*steps));
	auto_free unsigned char *data = NULL;
	struct heat heat = {0};
	struct error err;
	size_t size;
	int r;

	for (size_t i = 0; i < count; i++) {
		tasks[i] = task + (uint32_t) i;
		steps[i] = step;
		many[i] = pages;
	}
	message.tasks = tasks;
	message.steps = steps;
	message.pages = many;
	message.n_tasks = message.n_steps = count;
	message.n_pages = page_counts;
	size = hydra__v1__heat__get_packed_size(&message);
	data = malloc(size + 1);
	CHECK(data != NULL);
	r = heat_parse(&heat, data, hydra__v1__heat__pack(&message, data), &err);
	heat_deinit(&heat);
	return r;
}

TEST(what_makes_no_sense_is_refused)
{
	CHECK(parse(2, 1, 5, 1, 2) == 0);
	CHECK(parse(2, 1, 5, 1, 1) == -EPROTO);
	CHECK(parse(1, 1, -1, 1, 1) == -EPROTO);
	CHECK(parse(1, 1, INT64_MAX, 1, 1) == -EPROTO);
	CHECK(parse(1, 1, INT64_MAX / (int64_t) P * 2, 9, 1) == -EPROTO);
	CHECK(parse(2, 1, INT64_MIN, 1, 2) == -EPROTO);
	CHECK(parse(HEAT_RANGES_MAX + 1, 1, 1, 1, HEAT_RANGES_MAX + 1) == -EPROTO);
}

static const char smaps[] = "00400000-00500000 r-xp 00000000 00:00 0 /bin/worker\n"
			    "Size: 1024 kB\nRss:                 512 kB\nReferenced:          512 kB\nAnonymous:             0 kB\n"
			    "7f0000000000-7f0000010000 rw-p 00000000 00:00 0 \n"
			    "Rss:                  64 kB\nReferenced:            4 kB\nAnonymous:            64 kB\nAnonHugePages:  0 kB\n"
			    "7f0000020000-7f0000030000 rw-p 00000000 00:00 0 \n"
			    "Rss:                  64 kB\nReferenced:            0 kB\nAnonymous:            64 kB\n"
			    "7f0000040000-7f0000050000 rw-p 00000000 00:00 0 [heap]\n"
			    "Rss:                  32 kB\nReferenced:           32 kB\nAnonymous:            32 kB\nVmFlags: rd wr\n";

TEST(mappings_come_in_the_order_of_how_much_of_them_was_used)
{
	struct usage_mappings mappings = {0};
	struct heat heat = {0};

	CHECK(usage_parse(&mappings, 3, smaps) == 0 && mappings.count == 2);
	CHECK(usage_order(&mappings, &heat) == 0 && heat.count == 2);
	CHECK(is_at(&heat, 0, 3, 0x7f0000040, 16) && is_at(&heat, 1, 3, 0x7f0000000, 16));
	usage_mappings_deinit(&mappings);
	heat_deinit(&heat);
}

TEST(nothing_is_said_of_a_process_that_is_not_there)
{
	struct heat heat;

	usage_begin(-1);
	usage_read(&heat, -1);
	CHECK(heat.count == 0);
}
