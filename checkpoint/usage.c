/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Written to /proc/PID/clear_refs, 1 makes the kernel forget which pages were used, 4 which were written. No task is stopped for it;
 * who changes its mappings just then waits for some milliseconds. What can't be known is left out.
 */
#include "checkpoint/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/facts.h"
#include "checkpoint/frames.h"
#include "checkpoint/proc.h"

#define SMAPS_MAX      (256U << 20)
#define REGIONS        4096U
#define ADDRESSES_END  0x7ffffffff000ULL
#define WHOLE          256U
#define LEAST_SHARE    8U /* of WHOLE */
#define FORGET_USED    "1"
#define FORGET_WRITTEN "4"

static void forget(pid_t pid, const char *what)
{
	auto_free char *path = text_format("/proc/%d/clear_refs", (int) pid);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, what, strlen(what)) < 0)
		return; /* then it is not known */
}

void usage_begin(pid_t init)
{
	bool is_writing_known = facts_can_track_memory();
	struct proc_tasks tasks;
	struct error ignored;

	if (proc_tasks_read(&tasks, init, &ignored) < 0)
		return;
	for (size_t i = 0; i < tasks.count; i++) {
		forget(tasks.items[i].pid, FORGET_USED);
		if (is_writing_known)
			forget(tasks.items[i].pid, FORGET_WRITTEN);
	}
	proc_tasks_deinit(&tasks);
}

static int add_regions(struct heat *heat, uint32_t task, const struct page_region *regions, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		uint64_t pages = (regions[i].end - regions[i].start) / PAGE_BYTES;
		struct heat_range range = {.task = task, .pages = (uint32_t) pages, .address = regions[i].start};

		r = pages > UINT32_MAX ? 0 : heat_add(heat, &range);
	}
	return r;
}

/* Private pages of this category, but for what only reads as zeros. */
static int add_scanned(struct heat *heat, const struct proc_task *task, uint64_t category)
{
	auto_free char *path = text_format("/proc/%d/pagemap", (int) task->pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_free struct page_region *regions = calloc(REGIONS, sizeof(*regions));
	struct pm_scan_arg scan = {.size = sizeof(scan), .end = ADDRESSES_END, .vec = (uintptr_t) regions, .vec_len = REGIONS,
				   .category_inverted = PAGE_IS_FILE | PAGE_IS_PFNZERO,
				   .category_mask = PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_PFNZERO | category,
				   .return_mask = category};
	int r = regions == NULL ? -ENOMEM : 0;

	while (fd >= 0 && r == 0 && scan.start < scan.end) {
		long count = ioctl(fd, PAGEMAP_SCAN, &scan);

		if (count < 0)
			return 0; /* before kernel 6.7 */
		r = add_regions(heat, (uint32_t) task->virtual_pid, regions, (size_t) count);
		scan.start = scan.walk_end;
	}
	return r;
}

void usage_mappings_deinit(struct usage_mappings *self)
{
	free(self->items);
	*self = (struct usage_mappings){0};
}

static int push(struct usage_mappings *self, const struct usage_mapping *item)
{
	if (self->count == self->capacity) {
		size_t capacity = self->capacity == 0 ? 64 : self->capacity * 2;
		struct usage_mapping *grown = reallocarray(self->items, capacity, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		self->items = grown;
		self->capacity = capacity;
	}
	self->items[self->count++] = *item;
	return 0;
}

/* "start-end perms ...": addresses are in small letters, names of numbers begin with a capital. */
static bool parse_range(const char *line, struct usage_mapping *ret_mapping)
{
	char *end;
	uint64_t start = strtoull(line, &end, 16);

	if (*end != '-')
		return false;
	ret_mapping->start = start;
	ret_mapping->end = strtoull(end + 1, &end, 16);
	return *end == ' ' && ret_mapping->end > start;
}

static bool parse_number(const char *line, const char *name, uint64_t *ret_value)
{
	if (!text_has_prefix(line, name))
		return false;
	*ret_value = strtoull(line + strlen(name), NULL, 10);
	return true;
}

struct numbers {
	uint64_t resident, used, private;
};

static int finish(struct usage_mappings *self, struct usage_mapping *mapping, const struct numbers *numbers)
{
	if (mapping->end == 0 || numbers->resident == 0 || numbers->private == 0)
		return 0; /* nothing of it comes page by page */
	mapping->share = (uint32_t) (numbers->used * WHOLE / numbers->resident);
	return mapping->share < LEAST_SHARE ? 0 : push(self, mapping);
}

int usage_parse(struct usage_mappings *self, uint32_t task, const char *smaps)
{
	struct usage_mapping mapping = {.task = task}, next = {.task = task};
	struct numbers numbers = {0};
	int r = 0;

	for (const char *line = smaps; *line != '\0' && r == 0; line += strcspn(line, "\n"), line += *line == '\n') {
		if (parse_range(line, &next)) {
			r = finish(self, &mapping, &numbers);
			mapping = next;
			numbers = (struct numbers){0};
		} else if (!parse_number(line, "Rss:", &numbers.resident) && !parse_number(line, "Referenced:", &numbers.used)) {
			(void) parse_number(line, "Anonymous:", &numbers.private);
		}
	}
	return r == 0 ? finish(self, &mapping, &numbers) : r;
}

static int compare(const void *left, const void *right)
{
	const struct usage_mapping *one = left, *other = right;

	if (one->share != other->share)
		return one->share > other->share ? -1 : 1;
	if (one->task != other->task)
		return one->task < other->task ? -1 : 1;
	return one->start < other->start ? -1 : one->start > other->start;
}

int usage_order(struct usage_mappings *self, struct heat *heat)
{
	int r = 0;

	if (self->count > 0)
		qsort(self->items, self->count, sizeof(*self->items), compare);
	for (size_t i = 0; i < self->count && heat->count < HEAT_RANGES_MAX && r == 0; i++) {
		const struct usage_mapping *mapping = &self->items[i];
		uint64_t pages = (mapping->end - mapping->start) / PAGE_BYTES;
		struct heat_range range = {.task = mapping->task, .pages = (uint32_t) pages, .address = mapping->start};

		r = pages > UINT32_MAX ? 0 : heat_add(heat, &range);
	}
	return r;
}

static int add_used(struct usage_mappings *mappings, const struct proc_task *task)
{
	auto_free char *path = text_format("/proc/%d/smaps", (int) task->pid);
	auto_free char *smaps = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, path, SMAPS_MAX, &smaps, NULL, &ignored) < 0)
		return 0;
	return usage_parse(mappings, (uint32_t) task->virtual_pid, smaps);
}

void usage_read(struct heat *ret_heat, pid_t init)
{
	bool is_writing_known = facts_can_track_memory();
	struct usage_mappings mappings = {0};
	struct heat heat = {0};
	struct proc_tasks tasks;
	struct error ignored;
	int r = 0;

	*ret_heat = heat;
	if (proc_tasks_read(&tasks, init, &ignored) < 0)
		return;
	for (size_t i = 0; i < tasks.count && r == 0; i++) {
		r = is_writing_known ? add_scanned(&heat, &tasks.items[i], PAGE_IS_SOFT_DIRTY) : 0;
		if (r == 0)
			r = add_used(&mappings, &tasks.items[i]);
	}
	heat_thin(&heat, HEAT_RANGES_MAX / 2);
	if (r == 0)
		(void) usage_order(&mappings, &heat);
	usage_mappings_deinit(&mappings);
	proc_tasks_deinit(&tasks);
	*ret_heat = heat;
}

void usage_read_huge(struct heat *ret_heat, pid_t init)
{
	struct heat heat = {0};
	struct proc_tasks tasks;
	struct error ignored;

	*ret_heat = heat;
	if (proc_tasks_read(&tasks, init, &ignored) < 0)
		return;
	for (size_t i = 0; i < tasks.count; i++) {
		if (add_scanned(&heat, &tasks.items[i], PAGE_IS_HUGE) < 0)
			break;
	}
	if (heat.count > HEAT_RANGES_MAX)
		heat.count = HEAT_RANGES_MAX;
	proc_tasks_deinit(&tasks);
	*ret_heat = heat;
}
