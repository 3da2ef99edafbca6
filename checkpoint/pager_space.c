/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults and events of one address space. The kernel refuses to install pages (UFFD_RETRY) while an event waits to be
 * read, so events are always read before trying again.
 */
#include "checkpoint/pager_space.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/owned.h"
#include "checkpoint/uffd.h"

#define FOLLOW_REQUESTS 8U

static const unsigned char empty_pages[PAGES_PER_FRAME * PAGE_BYTES];

void pager_space_give_up(struct pager_space *self)
{
	self->is_gone = true;
	self->pager->pages_done += page_set_remote(&self->pages);
	page_set_deinit(&self->pages);
	event_loop_remove(self->pager->loop, &self->source);
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
}

static bool is_wanted(enum page_state state)
{
	return state == PAGE_MISSING || state == PAGE_ASKED || state == PAGE_AWAITED || state == PAGE_LOCAL;
}

static void fail(struct pager_space *self, const char *action, uint64_t address)
{
	struct error err;

	(void) fail_errno(&err, errno, "%s at %#" PRIx64 " of task %d", action, address, self->task);
	pager_fail(self->pager, &err);
}

/* A page without contents at the source: a hole, or something the task gave back. */
static void fill_with_zeros(struct pager_space *self, uint64_t address)
{
	while (self->fd >= 0 && !self->pager->has_failed) {
		switch (uffd_zero(self->fd, address, PAGE_BYTES)) {
		case UFFD_DONE:
			return;
		case UFFD_EXISTS:
		case UFFD_NO_AREA:
			uffd_wake(self->fd, address, PAGE_BYTES);
			return;
		case UFFD_RETRY:
			pager_space_handle_events(self);
			(void) sched_yield();
			break;
		case UFFD_GONE:
			pager_space_give_up(self);
			return;
		case UFFD_FAILED:
			fail(self, "install an empty page", address);
			return;
		}
	}
}

static void ask(struct pager_space *self, struct page_range *range, size_t first, size_t count)
{
	if (pager_request(self->pager, self, range, first, count, true) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		page_set_mark(&self->pages, range, first + i, PAGE_AWAITED);
}

static void ask_around(struct pager_space *self, struct page_range *range, size_t index)
{
	uint64_t page = range->start + (uint64_t) index * PAGE_BYTES;
	size_t first, count, window = fault_window_next(&self->window, page, PAGES_PER_FRAME);

	page_range_around(range, index, window, &first, &count);
	fault_window_asked(&self->window, range->start + (uint64_t) first * PAGE_BYTES,
			   range->start + (uint64_t) (first + count) * PAGE_BYTES);
	ask(self, range, first, count);
	/* what a task uses now it uses soon again, and what is behind it: the background goes on there */
	self->cursor_range = (size_t) (range - self->pages.ranges);
	self->cursor_page = first + count;
	self->pager->cursor_space = self->number;
	self->pager->has_jumped = true;
	self->pager->follow = window > FAULT_WINDOW_FIRST ? FOLLOW_REQUESTS : 0;
}

static void handle_fault(struct pager_space *self, uint64_t address)
{
	uint64_t page = address & ~(uint64_t) (PAGE_BYTES - 1);
	size_t index = 0;
	struct page_range *range = page_set_find(&self->pages, page, &index);

	self->pager->fault_count++;
	if (range != NULL && is_wanted(range->states[index]))
		stalls_begin(&self->stalls, page, clock_monotonic_ns());
	switch (range != NULL ? (enum page_state) range->states[index] : PAGE_FORGOTTEN) {
	case PAGE_FORGOTTEN:
		fill_with_zeros(self, page);
		break;
	case PAGE_INSTALLED:
		uffd_wake(self->fd, page, PAGE_BYTES);
		break;
	case PAGE_MISSING:
		ask_around(self, range, index);
		break;
	case PAGE_ASKED: /* on its way behind others; overtakes them */
		ask(self, range, index, 1);
		break;
	case PAGE_AWAITED:
		break;
	case PAGE_LOCAL:
		pager_place_around(self, range, index);
		break;
	}
}

static void handle_fork(struct pager_space *self, int fd)
{
	struct page_set copy;
	struct error err;

	if (page_set_copy(&self->pages, &copy) < 0) {
		(void) close(fd);
		(void) fail_errno(&err, ENOMEM, "follow a fork of task %d", self->task);
		pager_fail(self->pager, &err);
		return;
	}
	self->pager->pages_total += page_set_remote(&copy);
	(void) pager_adopt(self->pager, self->task, fd, &copy);
}

int pager_space_apply(struct page_set *pages, const struct uffd_event *event)
{
	if (event->kind == UFFD_EVENT_KIND_REMAP)
		return page_set_move(pages, event->address, event->end, event->target);
	if (event->kind == UFFD_EVENT_KIND_REMOVE || event->kind == UFFD_EVENT_KIND_UNMAP)
		page_set_forget(pages, event->address, event->end);
	return 0;
}

static void handle_event(struct pager_space *self, const struct uffd_event *event)
{
	size_t before = page_set_remote(&self->pages);
	struct error err;

	if (event->kind == UFFD_EVENT_KIND_FORK) {
		handle_fork(self, event->fd);
		return;
	}
	if (pager_space_apply(&self->pages, event) < 0) {
		(void) fail_errno(&err, ENOMEM, "follow moved memory of task %d", self->task);
		pager_fail(self->pager, &err);
	}
	self->pager->pages_done += before - page_set_remote(&self->pages);
}

/* A fault may be about memory that an event behind it is about, and answering it may mean to read more events: everything
 * else first. What the kernel says once is kept before it is acted on. */
void pager_space_handle_events(struct pager_space *self)
{
	struct uffd_event events[UFFD_EVENTS_MAX];
	struct pager_journal *journal = &self->pager->journal;
	size_t known, faults = 0;
	void *room;
	int count;

	if (self->fd < 0)
		return;
	room = pager_journal_room(journal, (uint32_t) self->number);
	count = uffd_read(self->fd, room);
	if (count < 0) {
		pager_space_give_up(self);
		return;
	}
	known = uffd_translate(room, (size_t) count, events);
	for (size_t i = 0; i < known; i++)
		faults += events[i].kind == UFFD_EVENT_KIND_FAULT;
	if (faults < known) {
		pager_journal_keep(journal, (size_t) count);
		fault_point("pager.events");
	}
	for (size_t i = 0; i < known; i++) {
		if (events[i].kind != UFFD_EVENT_KIND_FAULT)
			handle_event(self, &events[i]);
	}
	for (size_t i = 0; i < known; i++) {
		if (events[i].kind == UFFD_EVENT_KIND_FAULT && self->fd >= 0)
			handle_fault(self, events[i].address);
	}
}

static void mark(struct pager_space *self, struct page_range *range, size_t index, size_t count, enum page_state state)
{
	size_t before = page_set_remote(&self->pages);

	for (size_t i = 0; i < count; i++)
		page_set_mark(&self->pages, range, index + i, state);
	if (is_wanted(state))
		return;
	self->pager->pages_done += before - page_set_remote(&self->pages);
	stalls_end(&self->stalls, range->start + (uint64_t) index * PAGE_BYTES, range->start + (uint64_t) (index + count) * PAGE_BYTES,
		   clock_monotonic_ns());
}

/* Returns how many pages of the run are dealt with. */
static size_t install_run(struct pager_space *self, struct page_range *range, size_t index, size_t count,
			  const unsigned char *data)
{
	uint64_t address = range->start + (uint64_t) index * PAGE_BYTES;
	size_t done_bytes = 0, done;
	enum uffd_outcome outcome = uffd_copy(self->fd, address, data, count * PAGE_BYTES, &done_bytes);

	if (outcome == UFFD_NO_AREA && count > 1) /* perhaps only a part of it is not there */
		return install_run(self, range, index, 1, data);
	done = done_bytes / PAGE_BYTES;
	mark(self, range, index, done, PAGE_INSTALLED);
	switch (outcome) {
	case UFFD_DONE:
		break;
	case UFFD_EXISTS:
		uffd_wake(self->fd, address, PAGE_BYTES);
		mark(self, range, index, 1, PAGE_INSTALLED);
		return 1;
	case UFFD_RETRY:
		if (done == 0) {
			pager_space_handle_events(self);
			(void) sched_yield();
		}
		break;
	case UFFD_NO_AREA: /* before the restore is complete the area is still to come */
		mark(self, range, index, 1, self->pager->is_restored ? PAGE_FORGOTTEN : PAGE_MISSING);
		return 1;
	case UFFD_GONE:
		pager_space_give_up(self);
		break;
	case UFFD_FAILED:
		fail(self, "install a page", address);
		break;
	}
	return done;
}

void pager_space_install(struct pager_space *self, uint64_t source, size_t page_count, const unsigned char *data)
{
	size_t done = 0;

	while (done < page_count && self->fd >= 0 && !self->pager->has_failed) {
		size_t index = 0, run = 1;
		struct page_range *range = page_set_find_source(&self->pages, source + done * PAGE_BYTES, &index);

		if (range == NULL || !is_wanted(range->states[index])) {
			done++;
			continue;
		}
		while (done + run < page_count && index + run < range->count && is_wanted(range->states[index + run]))
			run++;
		done += install_run(self, range, index, run, data != NULL ? data + done * PAGE_BYTES : empty_pages);
	}
}
