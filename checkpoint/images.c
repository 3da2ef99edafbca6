/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image is 8 bytes of magic and then records {u32 length, protobuf}. At a target they come from another host, so
 * every length is checked before it is used.
 */
#include "checkpoint/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/frames.h"
#include "checkpoint/image_cursor.h"

#define PAGEMAP_MAGIC_COMMON 0x54564319U
#define PAGEMAP_MAGIC        0x56084025U
#define RECORD_MAX           4096U

static bool parse_entry(struct image_cursor record, struct pagemap_entry *ret_entry)
{
	*ret_entry = (struct pagemap_entry){0};
	while (record.at < record.end) {
		uint64_t number, value = 0;

		if (!image_cursor_take_field(&record, &number, &value))
			return false;
		if (number == 1)
			ret_entry->address = value;
		else if (number == PAGEMAP_NARROW || number == PAGEMAP_WIDE)
			ret_entry->page_count = value;
		else if (number == 4)
			ret_entry->flags = value;
		ret_entry->is_narrow |= number == PAGEMAP_NARROW;
		ret_entry->is_wide |= number == PAGEMAP_WIDE;
	}
	return true;
}

static int take_record(struct image_cursor *cursor, struct image_cursor *ret_record, struct error *err)
{
	uint32_t length;

	if (!image_cursor_take_u32(cursor, &length) || length > RECORD_MAX || length > cursor->end - cursor->at)
		return fail_because(err, EPROTO, "a pagemap ends in the middle of a record");
	*ret_record = (struct image_cursor){cursor->at, cursor->at + length};
	cursor->at += length;
	return 0;
}

int pagemap_begin(const void *data, size_t size, struct image_cursor *ret_cursor, uint64_t *ret_pages_id, struct error *err)
{
	struct image_cursor cursor = {.at = data, .end = (const unsigned char *) data + size}, head = {0};
	uint32_t common, magic;
	uint64_t number, value = 0;
	int r;

	if (!image_cursor_take_u32(&cursor, &common) || !image_cursor_take_u32(&cursor, &magic) || common != PAGEMAP_MAGIC_COMMON ||
	    magic != PAGEMAP_MAGIC)
		return fail_because(err, EPROTO, "a pagemap begins with something else than its magic");
	r = cursor.at < cursor.end ? take_record(&cursor, &head, err) : 0;
	if (r < 0)
		return r;
	*ret_pages_id = image_cursor_take_field(&head, &number, &value) && number == 1 ? value : 0;
	*ret_cursor = cursor;
	return 0;
}

int pagemap_next(struct image_cursor *cursor, struct pagemap_entry *ret_entry, struct error *err)
{
	struct image_cursor record;

	*ret_entry = (struct pagemap_entry){0};
	if (cursor->at == cursor->end)
		return 0;
	if (take_record(cursor, &record, err) < 0)
		return err->code;
	return parse_entry(record, ret_entry) ? 1 : fail_because(err, EPROTO, "a record of a pagemap is damaged");
}

int pagemap_parse(const void *data, size_t size, size_t pages_max, struct page_set *set, struct error *err)
{
	struct image_cursor cursor;
	struct pagemap_entry entry;
	uint64_t id;
	int r = pagemap_begin(data, size, &cursor, &id, err);

	while (r == 0 && (r = pagemap_next(&cursor, &entry, err)) == 1) {
		r = 0;
		if ((entry.flags & (PAGEMAP_LAZY | PAGEMAP_PRESENT)) != PAGEMAP_LAZY)
			continue;
		if (entry.page_count > pages_max - set->open_count || page_set_add(set, entry.address, entry.page_count) < 0)
			return fail_because(err, EPROTO, "a pagemap's records are out of order or too many");
	}
	return r;
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

static int compare_tasks(const void *left, const void *right)
{
	return *(const int *) left - *(const int *) right;
}

int pagemap_list_tasks(int images_fd, int **ret_tasks, size_t *ret_count, struct error *err)
{
	int fd = openat(images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	auto_free int *tasks = calloc(PAGEMAP_TASKS_MAX, sizeof(int));
	struct dirent *entry;
	size_t count = 0;

	if (folder == NULL || tasks == NULL) {
		int problem = folder == NULL ? errno : ENOMEM;

		if (folder != NULL)
			(void) closedir(folder);
		else if (fd >= 0)
			(void) close(fd);
		return fail_errno(err, problem, "look through the images");
	}
	while (count < PAGEMAP_TASKS_MAX && (entry = readdir(folder)) != NULL) {
		int task = pagemap_task_of(entry->d_name);

		if (task != 0)
			tasks[count++] = task;
	}
	(void) closedir(folder);
	qsort(tasks, count, sizeof(int), compare_tasks);
	*ret_tasks = take_ptr(&tasks);
	*ret_count = count;
	return 0;
}
