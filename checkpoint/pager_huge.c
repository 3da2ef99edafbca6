/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages come one by one, and what userfaultfd installs are small ones. Where the source had huge pages, the kernel is asked to make huge
 * ones of them again. It refuses, as long as we hold the userfaultfd, where a page is missing: nothing can become zeros by it.
 */
#include "checkpoint/pager.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "checkpoint/pager_space.h"

#define HUGE_BYTES   ((uint64_t) HUGE_PAGES * PAGE_BYTES)
#define ENABLED_FILE "/sys/kernel/mm/transparent_hugepage/enabled"

static bool is_wanted_here(void)
{
	auto_free char *text = NULL;
	struct error ignored;

	return file_read(AT_FDCWD, ENABLED_FILE, 256, &text, NULL, &ignored) == 0 && strstr(text, "[never]") == NULL;
}

static const struct pager_space *space_of(const struct pager *self, uint32_t task)
{
	for (size_t i = 0; i < self->space_count; i++) {
		if ((uint32_t) self->spaces[i]->task == task && !self->spaces[i]->is_gone)
			return self->spaces[i];
	}
	return NULL;
}

/* All of it came, and nothing was given back since. */
static bool is_whole(const struct page_set *pages, uint64_t address)
{
	for (size_t i = 0; i < HUGE_PAGES; i++) {
		size_t index;
		const struct page_range *range = page_set_find(pages, address + i * PAGE_BYTES, &index);

		if (range == NULL || range->states[index] != PAGE_INSTALLED)
			return false;
	}
	return true;
}

static pid_t pid_of(const struct proc_tasks *tasks, uint32_t task)
{
	for (size_t i = 0; i < tasks->count; i++) {
		if ((uint32_t) tasks->items[i].virtual_pid == task)
			return tasks->items[i].pid;
	}
	return 0;
}

static bool collapse(pid_t pid, uint64_t address)
{
	auto_close int fd = kernel_pidfd_open(pid, 0);
	struct iovec range = {.iov_base = (void *) (uintptr_t) address, .iov_len = HUGE_BYTES};

	return fd >= 0 && process_madvise(fd, &range, 1, MADV_COLLAPSE, 0) == (ssize_t) HUGE_BYTES;
}

static bool begin(struct pager_huge *self, pid_t init)
{
	struct error ignored;

	self->is_begun = true;
	return self->ranges.count > 0 && init > 0 && is_wanted_here() && proc_tasks_read(&self->tasks, init, &ignored) == 0;
}

bool pager_collapse_next(struct pager *self, pid_t init)
{
	struct pager_huge *huge = &self->huge;
	struct heat_cursor *cursor = &huge->cursor;

	if (!huge->is_begun)
		huge->is_over = !begin(huge, init);
	while (!huge->is_over && cursor->range < huge->ranges.count) {
		const struct heat_range *range = &huge->ranges.ranges[cursor->range];
		const struct pager_space *space = space_of(self, range->task);
		uint64_t address = cursor->address > range->address ? cursor->address : (range->address + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;

		if (space == NULL || address + HUGE_BYTES > heat_range_end(range)) {
			*cursor = (struct heat_cursor){.range = cursor->range + 1};
			continue;
		}
		cursor->address = address + HUGE_BYTES;
		if (!is_whole(&space->pages, address))
			continue;
		/* without memory for one there is none for the next */
		huge->is_over = !collapse(pid_of(&huge->tasks, range->task), address);
		return !huge->is_over;
	}
	return false;
}
