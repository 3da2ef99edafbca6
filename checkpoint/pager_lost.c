/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's memory is gone for good. What is missing must never read as zeros: either its pages are poisoned, so that who
 * touches one gets SIGBUS and all others run on, or the tasks are killed by who keeps their userfaultfds.
 */
#include <errno.h>
#include <string.h>

#include "base/fd_pass.h"
#include "base/text.h"
#include "checkpoint/pager.h"
#include "checkpoint/pager_space.h"
#include "checkpoint/uffd.h"

#define TRIES_MAX 100 /* of one page, while its task changes its memory */

/* Page by page: one run may be of several registered areas, or partly there. */
static int poison_page(struct pager_space *space, uint64_t address, uint64_t *pages, struct error *err)
{
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		enum uffd_outcome outcome = uffd_poison(space->fd, address, PAGE_BYTES);

		if (outcome == UFFD_RETRY) {
			pager_space_handle_events(space);
			continue;
		}
		if (outcome == UFFD_FAILED)
			return fail_errno(err, errno, "poison the memory of task %d", space->task);
		*pages += outcome == UFFD_DONE;
		return 0;
	}
	return fail_because(err, EAGAIN, "the memory of task %d does not stand still", space->task);
}

/* Only what is still missing: the ranges may change whenever events are read, so each page is looked for anew. */
static int poison_space(struct pager_space *space, uint64_t *pages, struct error *err)
{
	struct page_set *set = &space->pages;

	for (size_t range = 0; range < set->count; range++) {
		for (size_t page = 0; range < set->count && page < set->ranges[range].count; page++) {
			enum page_state state = (enum page_state) set->ranges[range].states[page];
			int r = state == PAGE_INSTALLED || state == PAGE_FORGOTTEN || space->is_gone || space->fd < 0
					? 0 : poison_page(space, set->ranges[range].start + page * PAGE_BYTES, pages, err);

			if (r < 0)
				return r;
		}
	}
	page_set_forget(set, 0, UINT64_MAX);
	return 0;
}

int pager_poison(struct pager *self, uint64_t *ret_pages, struct error *err)
{
	char text[64];
	int r = 0;

	*ret_pages = 0;
	for (size_t i = 0; i < self->space_count && r == 0; i++)
		r = poison_space(self->spaces[i], ret_pages, err);
	if (r == 0 && self->keeper_fd >= 0 && text_fit(text, sizeof(text), "poisoned %llu", (unsigned long long) *ret_pages))
		(void) fd_pass_send(self->keeper_fd, text, strlen(text) + 1, NULL, 0);
	return r;
}

bool pager_give_up(struct pager *self)
{
	return self->keeper_fd >= 0 && fd_pass_send(self->keeper_fd, "lost", sizeof("lost"), NULL, 0) > 0;
}
