/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list is of this host, in the byte order of the machine; like the journal of the pager it need not outlive it.
 */
#include "checkpoint/local_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/frames.h"
#include "checkpoint/images.h"
#include "checkpoint/local_list.h"

#define LIST_MAGIC 0x6c6f6331U

struct list_head {
	uint32_t magic, unused;
	uint64_t pages_id;
	char round[48]; /* the folder */
};

void local_pages_deinit(struct local_pages *self)
{
	if (self->map != NULL)
		(void) munmap((void *) (uintptr_t) self->map, self->size);
	free(self->runs);
	*self = (struct local_pages){0};
}

int local_pages_add(struct local_pages *self, const struct local_run *run)
{
	if (self->count == self->capacity) {
		size_t capacity = self->capacity == 0 ? 64 : self->capacity * 2;
		struct local_run *grown = reallocarray(self->runs, capacity, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		self->runs = grown;
		self->capacity = capacity;
	}
	self->runs[self->count++] = *run;
	return 0;
}

const unsigned char *local_pages_find(const struct local_pages *self, uint64_t source, size_t *ret_count)
{
	size_t low = 0, high = self->count;
	const struct local_run *run;
	uint64_t page;

	while (low < high) { /* the first run that ends behind it */
		size_t middle = low + (high - low) / 2;

		if (self->runs[middle].address + self->runs[middle].pages * PAGE_BYTES <= source)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == self->count || source < self->runs[low].address)
		return NULL;
	run = &self->runs[low];
	page = (source - run->address) / PAGE_BYTES;
	*ret_count = run->pages - page;
	return self->map + run->offset + page * PAGE_BYTES;
}

int local_list_write(const struct local_pages *self, const struct local_list *list, int images_fd, struct error *err)
{
	auto_free char *name = text_format(LOCAL_LIST, self->task);
	struct list_head head = {.magic = LIST_MAGIC, .pages_id = list->pages_id};
	auto_text text = TEXT_EMPTY;

	if (!text_fit(head.round, sizeof(head.round), "%s", list->round))
		return fail_because(err, ENAMETOOLONG, "the round's folder has a long name");
	text_add_bytes(&text, &head, sizeof(head));
	text_add_bytes(&text, self->runs, self->count * sizeof(*self->runs));
	if (text.has_failed)
		return fail_errno(err, ENOMEM, "list pages that are here");
	return file_replace_fast(images_fd, name, text.data, text.size, 0600, err);
}

static int map_round(struct local_pages *self, const struct list_head *head, int images_fd, struct error *err)
{
	auto_free char *name = text_format("%.47s/pages-%" PRIu64 ".img", head->round, head->pages_id);
	auto_close int fd = openat(images_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;
	void *map;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "open '%s'", name);
	for (size_t i = 0; i < self->count; i++) {
		const struct local_run *run = &self->runs[i];

		if (run->offset > (uint64_t) status.st_size || run->pages > ((uint64_t) status.st_size - run->offset) / PAGE_BYTES)
			return fail_because(err, EPROTO, "'%s' is too short", name);
	}
	map = mmap(NULL, (size_t) status.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return fail_errno(err, errno, "map '%s'", name);
	self->map = map;
	self->size = (size_t) status.st_size;
	return 0;
}

int local_pages_load(struct local_pages *ret_pages, int images_fd, int task, struct error *err)
{
	auto_free char *name = text_format(LOCAL_LIST, task);
	auto_free char *data = NULL;
	struct local_pages self = {.task = task};
	struct list_head head;
	size_t size;
	int r = file_read(images_fd, name, IMAGE_FILE_MAX, &data, &size, err);

	*ret_pages = self;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (size < sizeof(head) || (size - sizeof(head)) % sizeof(struct local_run) != 0)
		return fail_because(err, EPROTO, "'%s' is damaged", name);
	memcpy(&head, data, sizeof(head));
	self.count = self.capacity = (size - sizeof(head)) / sizeof(struct local_run);
	self.runs = malloc(size);
	if (head.magic != LIST_MAGIC || self.runs == NULL)
		r = fail_because(err, EPROTO, "'%s' is of no use", name);
	else
		memcpy(self.runs, data + sizeof(head), size - sizeof(head));
	if (r == 0 && self.count > 0)
		r = map_round(&self, &head, images_fd, err);
	if (r < 0)
		local_pages_deinit(&self);
	else
		*ret_pages = self;
	return r;
}
