/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/frames.h"
#include "checkpoint/images.h"
#include "checkpoint/local_pages.h"
#include "tests/unit/harness.h"

#define P ((uint64_t) PAGE_BYTES)

static void add_u32(struct text *text, uint32_t value)
{
	text_add_bytes(text, &value, sizeof(value));
}

static void add_varint(struct text *text, uint64_t value)
{
	for (; value > 0x7f; value >>= 7)
		text_add_bytes(text, &(unsigned char){(unsigned char) (value | 0x80)}, 1);
	text_add_bytes(text, &(unsigned char){(unsigned char) value}, 1);
}

static void add_field(struct text *text, unsigned int number, uint64_t value)
{
	add_varint(text, number << 3);
	add_varint(text, value);
}

static void add_record(struct text *image, const struct text *record)
{
	add_u32(image, (uint32_t) record->size);
	text_add_bytes(image, record->data, record->size);
}

static void begin_pagemap(struct text *image, uint64_t pages_id)
{
	auto_text head = TEXT_EMPTY;

	add_u32(image, 0x54564319);
	add_u32(image, 0x56084025);
	add_field(&head, 1, pages_id);
	add_record(image, &head);
}

static void add_entry(struct text *image, uint64_t page, uint64_t pages, uint64_t flags)
{
	auto_text record = TEXT_EMPTY;

	add_field(&record, 1, page * P);
	add_field(&record, 2, pages);
	add_field(&record, 4, flags);
	add_field(&record, 5, pages);
	add_record(image, &record);
}

static void add_mapping(struct text *mm, uint64_t from, uint64_t to, uint64_t flags)
{
	auto_text vma = TEXT_EMPTY;

	add_field(&vma, 1, from * P);
	add_field(&vma, 2, to * P);
	add_field(&vma, 6, flags);
	add_varint(mm, 14 << 3 | 2);
	add_varint(mm, vma.size);
	text_add_bytes(mm, vma.data, vma.size);
}

static void make_mm(struct text *image)
{
	auto_text mm = TEXT_EMPTY;

	add_field(&mm, 1, 7);
	add_mapping(&mm, 1000, 2000, 0x22);
	add_mapping(&mm, 2000, 3000, 0x22 | 0x2000); /* locked */
	add_mapping(&mm, 3000, 4000, 0x22);
	add_mapping(&mm, 5000, 6000, 0x02); /* of a file */
	add_mapping(&mm, 7000, 8000, 0x122); /* the stack */
	add_u32(image, 0x54564319);
	add_u32(image, 0x57492820);
	add_record(image, &mm);
}

static void make_round(struct text *image)
{
	begin_pagemap(image, 5);
	add_entry(image, 900, 10, PAGEMAP_PRESENT);
	add_entry(image, 1000, 500, PAGEMAP_PRESENT);
	add_entry(image, 1500, 2500, PAGEMAP_PRESENT);
	add_entry(image, 5000, 100, PAGEMAP_PRESENT);
	add_entry(image, 7000, 500, PAGEMAP_PRESENT);
}

TEST(only_mappings_whose_memory_may_come_later_count)
{
	auto_text image = TEXT_EMPTY;
	struct local_areas areas;
	struct error err;

	make_mm(&image);
	CHECK(local_areas_parse(&areas, image.data, image.size, &err) == 0 && areas.count == 2);
	CHECK(areas.items[0].start == 1000 * P && areas.items[1].start == 3000 * P && areas.items[1].end == 4000 * P);
	free(areas.items);
	for (size_t size = 0; size < image.size; size++) {
		if (local_areas_parse(&areas, image.data, size, &err) == 0)
			free(areas.items);
	}
}

TEST(pages_of_a_round_are_one_behind_the_other)
{
	auto_text image = TEXT_EMPTY;
	struct local_pages round;
	struct error err;
	uint64_t id;

	make_round(&image);
	CHECK(local_round_parse(&round, &id, image.data, image.size, &err) == 0 && id == 5 && round.count == 5);
	CHECK(round.runs[1].address == 1000 * P && round.runs[1].offset == 10 * P && round.runs[4].offset == 3110 * P);
	local_pages_deinit(&round);
	add_entry(&image, 10, 1, PAGEMAP_PRESENT);
	CHECK(local_round_parse(&round, &id, image.data, image.size, &err) == -EPROTO);
}

/* What the changed pagemap says, entry by entry. */
static void check_entries(const struct text *image, const struct pagemap_entry *wanted, size_t count)
{
	struct image_cursor cursor;
	struct pagemap_entry entry;
	struct error err;
	uint64_t id;

	CHECK(pagemap_begin(image->data, image->size, &cursor, &id, &err) == 0 && id == 9);
	for (size_t i = 0; i < count; i++) {
		CHECK(pagemap_next(&cursor, &entry, &err) == 1 && entry.address == wanted[i].address * P &&
		      entry.page_count == wanted[i].page_count && entry.flags == wanted[i].flags && entry.is_narrow && entry.is_wide);
	}
	CHECK(pagemap_next(&cursor, &entry, &err) == 0);
}

static void change(const struct text *pagemap, struct local_pages *pages, struct text *changed, int result)
{
	auto_text mm = TEXT_EMPTY, round_image = TEXT_EMPTY;
	struct local_areas areas;
	struct local_pages round;
	struct error err;
	uint64_t id;

	make_mm(&mm);
	make_round(&round_image);
	CHECK(local_areas_parse(&areas, mm.data, mm.size, &err) == 0);
	CHECK(local_round_parse(&round, &id, round_image.data, round_image.size, &err) == 0);
	CHECK(local_pagemap_change(pagemap->data, pagemap->size, &round, &areas, pages, changed, &err) == result);
	free(areas.items);
	local_pages_deinit(&round);
}

TEST(what_is_here_may_come_later)
{
	static const struct pagemap_entry wanted[] = {
		{.address = 900, .page_count = 5, .flags = PAGEMAP_PARENT},
		{.address = 1000, .page_count = 500, .flags = PAGEMAP_LAZY},
		{.address = 1500, .page_count = 500, .flags = PAGEMAP_LAZY},
		{.address = 2000, .page_count = 1000, .flags = PAGEMAP_PARENT}, /* locked */
		{.address = 3000, .page_count = 900, .flags = PAGEMAP_LAZY},
		{.address = 3900, .page_count = 10, .flags = PAGEMAP_LAZY}, /* written since */
		{.address = 3910, .page_count = 20, .flags = PAGEMAP_PARENT}, /* too few */
		{.address = 5000, .page_count = 100, .flags = PAGEMAP_PARENT},
		{.address = 7000, .page_count = 400, .flags = PAGEMAP_PARENT},
		{.address = 7400, .page_count = 1, .flags = PAGEMAP_PRESENT},
	};
	auto_text pagemap = TEXT_EMPTY, changed = TEXT_EMPTY;
	auto_free unsigned char *file = malloc(3110 * P);
	struct local_pages pages = {.map = file};
	size_t count;

	begin_pagemap(&pagemap, 9);
	add_entry(&pagemap, 900, 5, PAGEMAP_PARENT);
	add_entry(&pagemap, 1000, 2900, PAGEMAP_PARENT);
	add_entry(&pagemap, 3900, 10, PAGEMAP_LAZY);
	add_entry(&pagemap, 3910, 20, PAGEMAP_PARENT);
	add_entry(&pagemap, 5000, 100, PAGEMAP_PARENT);
	add_entry(&pagemap, 7000, 400, PAGEMAP_PARENT);
	add_entry(&pagemap, 7400, 1, PAGEMAP_PRESENT);
	change(&pagemap, &pages, &changed, 0);
	check_entries(&changed, wanted, sizeof(wanted) / sizeof(wanted[0]));
	CHECK(pages.count == 3 && pages.runs[2].address == 3000 * P && pages.runs[2].offset == (510 + 1500) * P);
	CHECK(local_pages_find(&pages, 999 * P, &count) == NULL && local_pages_find(&pages, 2000 * P, &count) == NULL);
	CHECK(local_pages_find(&pages, 3100 * P, &count) == file + 2110 * P && count == 800);
	pages.map = NULL; /* it was not mapped */
	local_pages_deinit(&pages);
}

TEST(a_pagemap_that_makes_no_sense_is_refused)
{
	auto_text pagemap = TEXT_EMPTY, changed = TEXT_EMPTY;
	struct local_pages pages = {0};

	begin_pagemap(&pagemap, 9);
	add_entry(&pagemap, 1000, UINT64_MAX / P, PAGEMAP_PARENT);
	change(&pagemap, &pages, &changed, -EPROTO);
	local_pages_deinit(&pages);
}

static void write_image(int folder, const char *name, const struct text *image)
{
	struct error err;

	CHECK(file_replace_fast(folder, name, image->data, image->size, 0600, &err) == 0);
}

/* With the folder of a round of one page more than is used. */
TEST(a_plan_is_found_again)
{
	char path[] = "/tmp/localXXXXXX";
	auto_close int folder = mkdtemp(path) != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	auto_close int round = mkdirat(folder, "round-1", 0700) == 0 ? openat(folder, "round-1", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	auto_close int data = openat(round, "pages-5.img", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	auto_text mm = TEXT_EMPTY, before = TEXT_EMPTY, pagemap = TEXT_EMPTY;
	struct local_pages pages;
	struct page_set set;
	struct error err;
	size_t count;

	make_mm(&mm);
	make_round(&before);
	begin_pagemap(&pagemap, 9);
	add_entry(&pagemap, 1000, 100, PAGEMAP_PARENT);
	write_image(folder, "mm-1.img", &mm);
	write_image(round, "pagemap-1.img", &before);
	write_image(folder, "pagemap-1.img", &pagemap);
	CHECK(local_pages_load(&pages, folder, 1, &err) == 0 && pages.count == 0);
	CHECK(local_pages_plan(folder, "round-1", &err) == 0);
	CHECK(local_pages_load(&pages, folder, 1, &err) == -EPROTO); /* the file is too short */
	CHECK(ftruncate(data, 4000 * (off_t) P) == 0 && pwrite(data, "x", 1, 13 * (off_t) P) == 1);
	CHECK(local_pages_load(&pages, folder, 1, &err) == 0 && pages.count == 1);
	CHECK(*local_pages_find(&pages, 1003 * P, &count) == 'x' && count == 97);
	CHECK(pagemap_load(folder, 1, &set, &err) == 0 && set.open_count == 100);
	page_set_deinit(&set);
	local_pages_deinit(&pages);
	CHECK(dir_remove_all(AT_FDCWD, path, &err) == 0);
}
