/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image is 8 bytes of magic and then records {u32 length, protobuf}. At a target they come from another host, so
 * every length is checked before it is used.
 */
#include "checkpoint/images.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/frames.h"
#include "checkpoint/image_cursor.h"

#define PAGEMAP_MAGIC_COMMON 0x54564319U
#define PAGEMAP_MAGIC        0x56084025U
#define PAGEMAP_LAZY         2U
#define PAGEMAP_PRESENT      4U /* it could have been left behind, but is in the images */
#define RECORD_MAX           4096U

struct pagemap_entry {
	uint64_t address, page_count, flags;
};

static bool parse_entry(struct image_cursor record, struct pagemap_entry *ret_entry)
{
	*ret_entry = (struct pagemap_entry){0};
	while (record.at < record.end) {
		uint64_t number, value = 0;

		if (!image_cursor_take_field(&record, &number, &value))
			return false;
		if (number == 1)
			ret_entry->address = value;
		else if (number == 2 || number == 5) /* 5: the 64 bit form of newer versions */
			ret_entry->page_count = value;
		else if (number == 4)
			ret_entry->flags = value;
	}
	return true;
}

int pagemap_parse(const void *data, size_t size, size_t pages_max, struct page_set *set, struct error *err)
{
	struct image_cursor cursor = {.at = data, .end = (const unsigned char *) data + size};
	uint32_t common, magic, length;
	bool is_head = true;

	if (!image_cursor_take_u32(&cursor, &common) || !image_cursor_take_u32(&cursor, &magic) || common != PAGEMAP_MAGIC_COMMON ||
	    magic != PAGEMAP_MAGIC)
		return fail_because(err, EPROTO, "a pagemap begins with something else than its magic");
	for (; cursor.at < cursor.end; is_head = false) {
		struct pagemap_entry entry;
		struct image_cursor record;

		if (!image_cursor_take_u32(&cursor, &length) || length > RECORD_MAX || length > cursor.end - cursor.at)
			return fail_because(err, EPROTO, "a pagemap ends in the middle of a record");
		record = (struct image_cursor){cursor.at, cursor.at + length};
		cursor.at += length;
		if (is_head)
			continue;
		if (!parse_entry(record, &entry))
			return fail_because(err, EPROTO, "a record of a pagemap is damaged");
		if ((entry.flags & (PAGEMAP_LAZY | PAGEMAP_PRESENT)) != PAGEMAP_LAZY)
			continue;
		if (entry.page_count > pages_max - set->open_count || page_set_add(set, entry.address, entry.page_count) < 0)
			return fail_because(err, EPROTO, "a pagemap's records are out of order or too many");
	}
	return 0;
}

int pagemap_load(int images_fd, int task, struct page_set *ret_set, struct error *err)
{
	auto_free char *name = text_format("pagemap-%d.img", task);
	auto_free char *data = NULL;
	struct page_set set = {0};
	size_t size;
	int r = file_read(images_fd, name, IMAGE_FILE_MAX, &data, &size, err);

	if (r < 0)
		return r;
	r = pagemap_parse(data, size, (size_t) sysconf(_SC_PHYS_PAGES), &set, err);
	if (r < 0) {
		page_set_deinit(&set);
		return fail_while(err, "%s", name);
	}
	*ret_set = set;
	return 0;
}

int pagemap_task_of(const char *file_name)
{
	int task = 0, length = 0;

	if (sscanf(file_name, "pagemap-%9d.img%n", &task, &length) != 1 || length == 0 || file_name[length] != '\0')
		return 0;
	return task > 0 ? task : 0;
}
