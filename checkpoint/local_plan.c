/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images come from another host. A page is left for later where CRIU would take it from the round, where the round has it, and where
 * memory can come later at all; in small pieces that is no gain. Everything else stays as CRIU wrote it.
 */
#include "checkpoint/local_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/frames.h"
#include "checkpoint/images.h"

#define LEAST_PAGES PAGES_PER_FRAME

/* Fields of CRIU's images. */
#define MM_VMAS       14
#define VMA_START     1
#define VMA_END       2
#define VMA_FLAGS     6
#define ENTRY_ADDRESS 1
#define ENTRY_FLAGS   4

#define FLAGS_WANTED   (MAP_PRIVATE | MAP_ANONYMOUS)
#define FLAGS_UNWANTED (MAP_SHARED | MAP_GROWSDOWN | MAP_LOCKED | MAP_HUGETLB)

static bool parse_area(struct image_cursor vma, struct local_area *ret_area, bool *ret_is_lazy)
{
	uint64_t flags = 0;

	*ret_area = (struct local_area){0};
	while (vma.at < vma.end) {
		uint64_t number, value = 0;

		if (!image_cursor_take_field(&vma, &number, &value))
			return false;
		if (number == VMA_START)
			ret_area->start = value;
		else if (number == VMA_END)
			ret_area->end = value;
		else if (number == VMA_FLAGS)
			flags = value;
	}
	*ret_is_lazy = (flags & FLAGS_WANTED) == FLAGS_WANTED && (flags & FLAGS_UNWANTED) == 0;
	return ret_area->start < ret_area->end;
}

int local_areas_parse(struct local_areas *ret_areas, const void *data, size_t size, struct error *err)
{
	struct image_cursor cursor = {.at = data, .end = (const unsigned char *) data + size}, vma;
	struct local_areas areas = {0};
	uint32_t head[3];

	for (size_t i = 0; i < 3; i++) { /* two magic numbers and the length of the only record */
		if (!image_cursor_take_u32(&cursor, &head[i]))
			return fail_because(err, EPROTO, "the image of a task's mappings is cut");
	}
	areas.items = calloc(size / 4 + 1, sizeof(*areas.items)); /* a mapping takes more */
	if (areas.items == NULL)
		return fail_errno(err, ENOMEM, "look through mappings");
	while (cursor.at < cursor.end) {
		uint64_t number, value;
		bool is_lazy = false;
		bool is_vma = image_cursor_take_message(&cursor, MM_VMAS, &vma);

		if (is_vma ? !parse_area(vma, &areas.items[areas.count], &is_lazy) : !image_cursor_take_field(&cursor, &number, &value)) {
			free(areas.items);
			return fail_because(err, EPROTO, "the image of a task's mappings is damaged");
		}
		areas.count += is_lazy;
	}
	*ret_areas = areas;
	return 0;
}

int local_round_parse(struct local_pages *ret_round, uint64_t *ret_pages_id, const void *data, size_t size, struct error *err)
{
	struct local_pages round = {0};
	struct image_cursor cursor;
	struct pagemap_entry entry;
	uint64_t offset = 0, last = 0;
	int r = pagemap_begin(data, size, &cursor, ret_pages_id, err);

	while (r == 0 && (r = pagemap_next(&cursor, &entry, err)) == 1) {
		struct local_run run = {.address = entry.address, .pages = entry.page_count, .offset = offset};

		r = 0;
		if (entry.address < last || entry.page_count > (UINT64_MAX - entry.address) / PAGE_BYTES ||
		    entry.page_count > (UINT64_MAX - offset) / PAGE_BYTES)
			r = fail_because(err, EPROTO, "a pagemap of the round is out of order");
		last = entry.address + entry.page_count * PAGE_BYTES;
		if (r < 0 || (entry.flags & PAGEMAP_PRESENT) == 0)
			continue;
		offset += entry.page_count * PAGE_BYTES;
		if (local_pages_add(&round, &run) < 0)
			r = fail_errno(err, ENOMEM, "list the pages of the round");
	}
	if (r < 0)
		local_pages_deinit(&round);
	else
		*ret_round = round;
	return r;
}

static void add_varint(struct text *text, uint64_t value)
{
	do {
		unsigned char byte = (unsigned char) ((value & 0x7f) | (value > 0x7f ? 0x80 : 0));

		text_add_bytes(text, &byte, 1);
		value >>= 7;
	} while (value > 0);
}

static void add_field(struct text *text, uint64_t number, uint64_t value)
{
	add_varint(text, number << 3);
	add_varint(text, value);
}

/* One record of a pagemap. */
static void add_entry(struct text *image, const struct pagemap_entry *entry)
{
	auto_text record = TEXT_EMPTY;
	uint32_t length;

	add_field(&record, ENTRY_ADDRESS, entry->address);
	if (entry->is_narrow)
		add_field(&record, PAGEMAP_NARROW, entry->page_count);
	add_field(&record, ENTRY_FLAGS, entry->flags);
	if (entry->is_wide)
		add_field(&record, PAGEMAP_WIDE, entry->page_count);
	length = (uint32_t) record.size;
	text_add_bytes(image, &length, sizeof(length));
	text_add_bytes(image, record.data, record.size);
}

/* The first that ends behind address. */
static const struct local_area *area_at(const struct local_areas *areas, uint64_t address)
{
	size_t low = 0, high = areas->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (areas->items[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < areas->count ? &areas->items[low] : NULL;
}

static const struct local_run *run_at(const struct local_pages *round, uint64_t address)
{
	size_t low = 0, high = round->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (round->runs[middle].address + round->runs[middle].pages * PAGE_BYTES <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < round->count && round->runs[low].address <= address ? &round->runs[low] : NULL;
}

/* How much of what begins at address is treated alike; *ret_run: it is here and may come later, NULL: it stays. */
static uint64_t piece_at(uint64_t address, uint64_t end, const struct local_pages *round, const struct local_areas *areas,
			 const struct local_run **ret_run)
{
	const struct local_area *area = area_at(areas, address);
	const struct local_run *run = run_at(round, address);
	uint64_t run_end = run != NULL ? run->address + run->pages * PAGE_BYTES : 0;

	*ret_run = NULL;
	if (area == NULL || run == NULL)
		return end;
	if (area->start > address)
		return area->start < end ? area->start : end;
	end = area->end < end ? area->end : end;
	end = run_end < end ? run_end : end;
	if (end - address >= LEAST_PAGES * PAGE_BYTES)
		*ret_run = run;
	return end;
}

static int change_entry(const struct pagemap_entry *entry, const struct local_pages *round, const struct local_areas *areas,
			struct local_pages *pages, struct text *image)
{
	uint64_t end = entry->address + entry->page_count * PAGE_BYTES;
	int r = 0;

	for (uint64_t address = entry->address, next; address < end && r == 0; address = next) {
		struct pagemap_entry piece = *entry;
		const struct local_run *run;
		struct local_run here;

		next = piece_at(address, end, round, areas, &run);
		piece.address = address;
		piece.page_count = (next - address) / PAGE_BYTES;
		if (run != NULL) {
			piece.flags = PAGEMAP_LAZY;
			here = (struct local_run){.address = address, .pages = piece.page_count, .offset = run->offset + (address - run->address)};
			r = local_pages_add(pages, &here);
		}
		add_entry(image, &piece);
	}
	return r;
}

static bool is_sane(const struct pagemap_entry *entry)
{
	return entry->address % PAGE_BYTES == 0 && entry->page_count <= (UINT64_MAX - entry->address) / PAGE_BYTES &&
	       (entry->is_wide || entry->is_narrow);
}

int local_pagemap_change(const void *data, size_t size, const struct local_pages *round, const struct local_areas *areas,
			 struct local_pages *ret_pages, struct text *ret_image, struct error *err)
{
	struct image_cursor cursor;
	struct pagemap_entry entry;
	uint64_t id;
	int r = pagemap_begin(data, size, &cursor, &id, err);

	if (r == 0)
		text_add_bytes(ret_image, data, (size_t) (cursor.at - (const unsigned char *) data));
	while (r == 0) {
		const unsigned char *record = cursor.at;

		r = pagemap_next(&cursor, &entry, err);
		if (r <= 0)
			break;
		r = 0;
		if (!is_sane(&entry))
			return fail_because(err, EPROTO, "a record of a pagemap makes no sense");
		if (entry.flags != PAGEMAP_PARENT)
			text_add_bytes(ret_image, record, (size_t) (cursor.at - record));
		else if (change_entry(&entry, round, areas, ret_pages, ret_image) < 0)
			return fail_errno(err, ENOMEM, "change a pagemap");
	}
	return r == 0 && ret_image->has_failed ? fail_errno(err, ENOMEM, "change a pagemap") : r;
}

struct plan {
	int images_fd, round_fd;
	int task;
	struct local_pages pages, in_round;
	struct local_areas areas;
	struct local_list list;
	struct text image;
};

static int read_image(int dir_fd, const char *kind, int task, char **ret_data, size_t *ret_size, struct error *err)
{
	auto_free char *name = text_format("%s-%d.img", kind, task);

	return file_read(dir_fd, name, IMAGE_FILE_MAX, ret_data, ret_size, err);
}

static int load_round(struct plan *self, struct error *err)
{
	auto_free char *mappings = NULL, *pagemap = NULL;
	size_t mappings_size, size;
	int r = read_image(self->images_fd, "mm", self->task, &mappings, &mappings_size, err);

	if (r == 0)
		r = read_image(self->round_fd, "pagemap", self->task, &pagemap, &size, err);
	if (r == 0)
		r = local_areas_parse(&self->areas, mappings, mappings_size, err);
	return r == 0 ? local_round_parse(&self->in_round, &self->list.pages_id, pagemap, size, err) : r;
}

/* The list first: a pagemap that was changed without one would have its pages fetched from the source, which has them, too. */
static int plan_task(struct plan *self, struct error *err)
{
	auto_free char *name = text_format("pagemap-%d.img", self->task), *data = NULL;
	struct stat status;
	size_t size;
	int r = load_round(self, err);

	if (r == -ENOENT)
		return 0; /* a task that the round has not seen */
	if (r == 0)
		r = read_image(self->images_fd, "pagemap", self->task, &data, &size, err);
	if (r == 0)
		r = local_pagemap_change(data, size, &self->in_round, &self->areas, &self->pages, &self->image, err);
	if (r < 0 || self->pages.count == 0)
		return r;
	if (fstatat(self->images_fd, name, &status, 0) < 0)
		return fail_errno(err, errno, "look at '%s'", name);
	self->pages.task = self->task;
	r = local_list_write(&self->pages, &self->list, self->images_fd, err);
	return r == 0 ? file_replace_fast(self->images_fd, name, self->image.data, self->image.size, status.st_mode & 0777, err) : r;
}

static int plan_one(int images_fd, int round_fd, const char *round, int task, struct error *err)
{
	struct plan plan = {.images_fd = images_fd, .round_fd = round_fd, .task = task, .list = {.round = round}, .image = TEXT_EMPTY};
	int r = plan_task(&plan, err);

	local_pages_deinit(&plan.pages);
	local_pages_deinit(&plan.in_round);
	free(plan.areas.items);
	text_deinit(&plan.image);
	return r;
}

int local_pages_plan(int images_fd, const char *round, struct error *err)
{
	auto_close int round_fd = openat(images_fd, round, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_free int *tasks = NULL;
	size_t count = 0;
	int r = round_fd < 0 ? fail_errno(err, errno, "open '%s'", round) : pagemap_list_tasks(images_fd, &tasks, &count, err);

	for (size_t i = 0; i < count && r == 0; i++)
		r = plan_one(images_fd, round_fd, round, tasks[i], err);
	return r < 0 ? fail_while(err, "find out what is here of the memory") : 0;
}
