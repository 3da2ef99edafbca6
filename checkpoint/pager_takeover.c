/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on where a killed pager was. Which pages had arrived is not known, and need not be: the kernel refuses to install
 * a page a second time. What the tasks gave back, moved or forked meanwhile is in the journal.
 */
#include <errno.h>
#include <string.h>

#include "base/fd_pass.h"
#include "base/owned.h"
#include "checkpoint/pager.h"
#include "checkpoint/pager_space.h"
#include "checkpoint/uffd.h"

struct kept {
	int *fds; /* FD_NONE: handed on */
	size_t count, used;
};

static int no_use(struct error *err)
{
	return fail_because(err, ENOTRECOVERABLE, "what the pager before this one noted is of no use");
}

static int receive_kept(int keeper_fd, struct kept *kept, struct error *err)
{
	for (;;) {
		int fds[FD_PASS_MAX];
		size_t count = 0;
		char text[64];
		ssize_t got = fd_pass_receive(keeper_fd, text, sizeof(text), fds, &count);
		int *grown = reallocarray(kept->fds, kept->count + count + 1, sizeof(int));

		if (grown == NULL)
			return fail_errno(err, ENOMEM, "take over userfaultfds");
		kept->fds = grown;
		memcpy(grown + kept->count, fds, count * sizeof(int));
		kept->count += count;
		if (got == -EINTR || got == -EAGAIN)
			continue;
		if (got <= 0)
			return fail_because(err, EPIPE, "who kept the userfaultfds is gone");
		if (memmem(text, (size_t) got, "all", 3) != NULL)
			return 0;
	}
}

static int apply_kept(struct pager *self, const struct journal_entry *entry, bool is_begun, struct kept *kept, struct error *err)
{
	struct pager_space *space;

	if (is_begun && kept->used == kept->count)
		return fail_because(err, ENOTRECOVERABLE, "a task's userfaultfd got lost with the pager");
	if (kept->used == kept->count || entry->space > self->space_count)
		return no_use(err);
	space = entry->space < self->space_count ? self->spaces[entry->space]
						 : pager_add_space(self, (int) entry->task, &(struct page_set){0});
	if (space == NULL || space->fd >= 0 || space->task != (int) entry->task)
		return no_use(err);
	if (pager_attach(self, space, take_fd(&kept->fds[kept->used++])) < 0)
		return *err = self->error, err->code;
	return 0;
}

static int apply_fork(struct pager *self, const struct pager_space *parent, struct error *err)
{
	struct page_set copy;

	if (page_set_copy(&parent->pages, &copy) < 0)
		return fail_errno(err, ENOMEM, "follow a fork of task %d", parent->task);
	self->pages_total += page_set_remote(&copy);
	return pager_add_space(self, parent->task, &copy) == NULL ? fail_errno(err, ENOMEM, "follow a fork") : 0;
}

static int apply_events(struct pager *self, const struct journal_entry *entry, const void *messages, struct error *err)
{
	struct uffd_event events[UFFD_EVENTS_MAX];
	size_t known = uffd_translate(messages, entry->count, events);
	int r = entry->space < self->space_count ? 0 : no_use(err);

	for (size_t i = 0; i < known && r == 0; i++) {
		if (events[i].kind == UFFD_EVENT_KIND_FORK)
			r = apply_fork(self, self->spaces[entry->space], err);
		else if (pager_space_apply(&self->spaces[entry->space]->pages, &events[i]) < 0)
			r = fail_errno(err, ENOMEM, "follow moved memory");
	}
	return r;
}

static int replay(struct pager *self, struct kept *kept, struct error *err)
{
	struct journal_entry entry;
	const void *messages;
	size_t cursor = 0;
	bool is_begun;
	int r = 0;

	while (r == 0 && pager_journal_next(&self->journal, &cursor, &entry, &messages, &is_begun)) {
		r = entry.kind == JOURNAL_KEPT ? apply_kept(self, &entry, is_begun, kept, err)
					       : apply_events(self, &entry, messages, err);
		if (r == 0 && is_begun) /* carried out now, so that it is true for the next one, too */
			pager_journal_keep(&self->journal, entry.count);
	}
	for (size_t i = 0; i < self->space_count && r == 0; i++) {
		if (self->spaces[i]->fd < 0 && self->spaces[i]->pages.open_count > 0)
			r = fail_because(err, ENOTRECOVERABLE, "the userfaultfd of task %d got lost with the pager",
					 self->spaces[i]->task);
	}
	return r;
}

int pager_take_over(struct pager *self, struct event_loop *loop, struct link *link, const struct pager_places *places,
		    int keeper_fd, struct error *err)
{
	struct kept kept = {0};
	int r = receive_kept(keeper_fd, &kept, err); /* first of all: who sends them does not wait for us */

	if (r == 0)
		r = pager_prepare(self, loop, link, places, err);
	if (r == 0)
		r = pager_journal_open(&self->journal, places->folder, err);
	if (r == 0)
		r = replay(self, &kept, err);
	for (size_t i = kept.used; i < kept.count; i++)
		(void) close(kept.fds[i]);
	free(kept.fds);
	if (r < 0) {
		(void) fd_pass_send(keeper_fd, "lost", sizeof("lost"), NULL, 0);
		(void) close(keeper_fd);
		return fail_while(err, "take over from a killed pager");
	}
	self->is_restored = true;
	pager_watch_keeper(self, keeper_fd);
	for (size_t i = 0; i < self->space_count; i++) {
		if (self->spaces[i]->fd >= 0)
			uffd_wake_all(self->spaces[i]->fd); /* who waited for an answer of the killed one */
	}
	return self->has_failed ? (*err = self->error, err->code) : 0;
}

void pager_take_over_complete(int keeper_fd)
{
	struct kept kept = {0};
	struct error ignored;

	(void) receive_kept(keeper_fd, &kept, &ignored);
	for (size_t i = 0; i < kept.count; i++)
		(void) close(kept.fds[i]);
	free(kept.fds);
	(void) fd_pass_send(keeper_fd, "complete", sizeof("complete"), NULL, 0);
}
