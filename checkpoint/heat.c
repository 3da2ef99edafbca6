/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At a target the file comes from another host, so that every number is checked.
 */
#include "checkpoint/heat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/owned.h"
#include "checkpoint.pb-c.h"
#include "checkpoint/frames.h"

#define LAST_PAGE  ((int64_t) (UINT64_MAX / PAGE_BYTES))
#define FIRST_ROOM 64U

void heat_deinit(struct heat *self)
{
	free(self->ranges);
	*self = (struct heat){0};
}

uint64_t heat_range_end(const struct heat_range *range)
{
	return range->address + (uint64_t) range->pages * PAGE_BYTES;
}

int heat_add(struct heat *self, const struct heat_range *range)
{
	struct heat_range *last = self->count > 0 ? &self->ranges[self->count - 1] : NULL;

	if (last != NULL && last->task == range->task && heat_range_end(last) == range->address && range->pages <= UINT32_MAX - last->pages) {
		last->pages += range->pages;
		return 0;
	}
	if (self->count == self->capacity) {
		size_t capacity = self->capacity == 0 ? FIRST_ROOM : self->capacity * 2;
		struct heat_range *grown = reallocarray(self->ranges, capacity, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		self->ranges = grown;
		self->capacity = capacity;
	}
	self->ranges[self->count++] = *range;
	return 0;
}

static bool is_close(const struct heat_range *one, const struct heat_range *next, uint64_t gap_bytes)
{
	return one->task == next->task && heat_range_end(one) <= next->address && next->address - heat_range_end(one) <= gap_bytes &&
	       (heat_range_end(next) - one->address) / PAGE_BYTES <= UINT32_MAX;
}

static void join(struct heat *self, uint64_t gap_bytes)
{
	size_t kept = 0;

	for (size_t i = 1; i < self->count; i++) {
		struct heat_range *last = &self->ranges[kept];

		if (is_close(last, &self->ranges[i], gap_bytes))
			last->pages = (uint32_t) ((heat_range_end(&self->ranges[i]) - last->address) / PAGE_BYTES);
		else
			self->ranges[++kept] = self->ranges[i];
	}
	self->count = kept + 1;
}

void heat_thin(struct heat *self, size_t limit)
{
	for (uint64_t gap = PAGE_BYTES; self->count > limit && gap < 1ULL << 40; gap *= 2)
		join(self, gap);
	if (self->count > limit)
		self->count = limit;
}

static void fill(const struct heat *self, Hydra__V1__Heat *message)
{
	int64_t before = 0;

	for (size_t i = 0; i < self->count; i++) {
		const struct heat_range *range = &self->ranges[i];

		message->tasks[i] = range->task;
		message->steps[i] = (int64_t) (range->address / PAGE_BYTES) - before;
		message->pages[i] = range->pages;
		before = (int64_t) (heat_range_end(range) / PAGE_BYTES);
	}
	message->n_tasks = message->n_steps = message->n_pages = self->count;
}

int heat_write(const struct heat *self, int images_fd, const char *name, struct error *err)
{
	Hydra__V1__Heat message = HYDRA__V1__HEAT__INIT;
	auto_free uint32_t *tasks = calloc(self->count + 1, sizeof(*tasks)), *pages = calloc(self->count + 1, sizeof(*pages));
	auto_free int64_t *steps = calloc(self->count + 1, sizeof(*steps));
	auto_free unsigned char *data = NULL;
	size_t size;

	if (tasks == NULL || pages == NULL || steps == NULL)
		return fail_errno(err, ENOMEM, "write %s", name);
	message.tasks = tasks;
	message.pages = pages;
	message.steps = steps;
	fill(self, &message);
	size = hydra__v1__heat__get_packed_size(&message);
	data = malloc(size + 1);
	if (data == NULL)
		return fail_errno(err, ENOMEM, "write %s", name);
	(void) hydra__v1__heat__pack(&message, data);
	return file_replace_fast(images_fd, name, data, size, 0600, err);
}

/* Steps are from the end of the range before. */
static int take(struct heat *heat, const Hydra__V1__Heat *message)
{
	int64_t page = 0;

	if (message->n_tasks > HEAT_RANGES_MAX || message->n_steps != message->n_tasks || message->n_pages != message->n_tasks)
		return -EPROTO;
	for (size_t i = 0; i < message->n_tasks; i++) {
		struct heat_range range = {.task = message->tasks[i], .pages = message->pages[i]};

		if (message->steps[i] > LAST_PAGE - page || message->steps[i] < -page)
			return -EPROTO;
		page += message->steps[i];
		range.address = (uint64_t) page * PAGE_BYTES;
		if ((int64_t) range.pages > LAST_PAGE - page || heat_add(heat, &range) < 0)
			return -EPROTO;
		page += range.pages;
	}
	return 0;
}

int heat_parse(struct heat *ret_heat, const void *data, size_t size, struct error *err)
{
	Hydra__V1__Heat *message = hydra__v1__heat__unpack(NULL, size, data);
	struct heat heat = {0};
	int r = message == NULL ? -EPROTO : take(&heat, message);

	hydra__v1__heat__free_unpacked(message, NULL);
	if (r < 0) {
		heat_deinit(&heat);
		return fail_because(err, EPROTO, "what was used recently makes no sense");
	}
	*ret_heat = heat;
	return 0;
}

void heat_load(struct heat *ret_heat, int images_fd, const char *name)
{
	auto_free char *data = NULL;
	struct error ignored;
	size_t size;

	*ret_heat = (struct heat){0};
	if (file_read(images_fd, name, HEAT_BYTES_MAX, &data, &size, &ignored) == 0)
		(void) heat_parse(ret_heat, data, size, &ignored);
}
