/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How children of dead shims ended, which are ours then: their successors ask (proto/store.h).
 */
#include "base/text.h"
#include "monitor/monitor.h"
#include "proto/store.h"
#include "state/record.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

static uint64_t microseconds(const struct timeval *time)
{
	return (uint64_t) time->tv_sec * 1000000 + (uint64_t) time->tv_usec;
}

void ends_reap(struct ends *self, pid_t pid)
{
	struct store_end end = {.pid = pid, .start_time = process_start_time_at_all(pid)};
	struct rusage usage;

	if (wait4(pid, &end.wait_status, WNOHANG, &usage) != pid || !(WIFEXITED(end.wait_status) || WIFSIGNALED(end.wait_status)))
		return;
	end.user_us = microseconds(&usage.ru_utime);
	end.system_us = microseconds(&usage.ru_stime);
	end.max_rss_kib = (uint64_t) usage.ru_maxrss;
	self->items[self->next++ % ENDS_KEPT] = end;
}

static const struct store_end *find(const struct ends *self, const struct store_end *asked)
{
	for (size_t i = 0; i < ENDS_KEPT; i++) {
		if (asked->start_time != 0 && self->items[i].pid == asked->pid && self->items[i].start_time == asked->start_time)
			return &self->items[i];
	}
	return NULL;
}

void ends_answer(struct ends *self, const struct store_request *request, int store_fd)
{
	struct store_end asked;
	const struct store_end *found;
	char text[STORE_END_SIZE];

	if (!store_end_parse(request->name, &asked))
		return;
	if (process_is_there(asked.pid, asked.start_time))
		ends_reap(self, asked.pid);
	found = find(self, &asked);
	asked.wait_status = STORE_END_UNKNOWN;
	store_end_print(found != NULL ? found : &asked, text);
	(void) store_send(store_fd, "status", request->namespace, request->id, text, -1);
}

bool ends_seal(const struct ends *self, Hydra__V1__SealedMonitor *sealed)
{
	sealed->ends = calloc(ENDS_KEPT, sizeof(*sealed->ends));
	for (size_t i = 0; i < ENDS_KEPT && sealed->ends != NULL; i++) {
		char text[STORE_END_SIZE];

		if (self->items[i].pid == 0)
			continue;
		store_end_print(&self->items[i], text);
		sealed->ends[sealed->n_ends] = text_copy(text);
		if (sealed->ends[sealed->n_ends++] == NULL)
			return false;
	}
	return sealed->ends != NULL;
}

void ends_unseal(struct ends *self, const Hydra__V1__SealedMonitor *sealed)
{
	for (size_t i = 0; i < sealed->n_ends; i++)
		(void) store_end_parse(sealed->ends[i], &self->items[self->next++ % ENDS_KEPT]);
}
