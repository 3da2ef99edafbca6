/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/sums.h"

#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>

struct task_stalls {
	int task;
	struct stalls stalls;
};

static int compare_sums(const void *left, const void *right)
{
	const struct task_stalls *a = left, *b = right;

	return (b->stalls.sum_ns > a->stalls.sum_ns) - (b->stalls.sum_ns < a->stalls.sum_ns);
}

static int compare_tasks(const void *left, const void *right)
{
	return ((const struct task_stalls *) left)->task - ((const struct task_stalls *) right)->task;
}

/* One item a task, those with most first; a child that was forked meanwhile counts for its parent. */
static size_t list_tasks(const struct pager *pager, struct task_stalls *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < pager->space_count; i++) {
		list[i] = (struct task_stalls){.task = pager->spaces[i]->task};
		stalls_add(&list[i].stalls, &pager->spaces[i]->stalls);
	}
	qsort(list, pager->space_count, sizeof(*list), compare_tasks);
	for (size_t i = 0; i < pager->space_count; i++) {
		if (kept > 0 && list[kept - 1].task == list[i].task)
			stalls_add(&list[kept - 1].stalls, &list[i].stalls);
		else
			list[kept++] = list[i];
	}
	qsort(list, kept, sizeof(*list), compare_sums);
	return kept;
}

static bool add_task(Hydra__V1__HandoffSums *sums, const struct task_stalls *item)
{
	Hydra__V1__HandoffTaskSums *task = malloc(sizeof(*task));

	if (task == NULL)
		return false;
	hydra__v1__handoff_task_sums__init(task);
	task->pid = item->task;
	task->stalls = item->stalls.count;
	task->stall_us = item->stalls.sum_ns / NS_PER_US;
	task->stall_max_us = item->stalls.max_ns / NS_PER_US;
	sums->tasks[sums->n_tasks++] = task;
	return true;
}

static void add_tasks(Hydra__V1__HandoffSums *sums, const struct pager *pager)
{
	struct task_stalls *list = calloc(pager->space_count + 1, sizeof(*list));
	struct stalls all = {.waiting = NULL};
	size_t count;

	if (list == NULL)
		return;
	count = list_tasks(pager, list);
	for (size_t i = 0; i < count; i++)
		stalls_add(&all, &list[i].stalls);
	sums->stalls = all.count;
	sums->stall_us = all.sum_ns / NS_PER_US;
	sums->stall_max_us = all.max_ns / NS_PER_US;
	sums->tasks = calloc(SUMS_TASKS_MAX, sizeof(*sums->tasks));
	for (size_t i = 0; sums->tasks != NULL && i < count && i < SUMS_TASKS_MAX && list[i].stalls.count > 0; i++) {
		if (!add_task(sums, &list[i]))
			break;
	}
	free(list);
}

Hydra__V1__HandoffSums *sums_of_pager(const struct pager *pager, uint64_t lazy_us)
{
	Hydra__V1__HandoffSums *sums = malloc(sizeof(*sums));

	if (sums == NULL)
		return NULL;
	hydra__v1__handoff_sums__init(sums);
	sums->lazy_us = lazy_us;
	sums->faults = pager->fault_count;
	add_tasks(sums, pager);
	return sums;
}

Hydra__V1__HandoffSums *sums_of_frame(const struct frame *frame)
{
	Hydra__V1__HandoffStage *stage = hydra__v1__handoff_stage__unpack(NULL, frame->size, frame->data);
	Hydra__V1__HandoffSums *sums = stage != NULL ? stage->sums : NULL;

	if (stage != NULL)
		stage->sums = NULL;
	hydra__v1__handoff_stage__free_unpacked(stage, NULL);
	return sums;
}

char *sums_extra(const Hydra__V1__HandoffSums *sums)
{
	struct text text = TEXT_EMPTY;

	if (sums == NULL)
		return text_copy("");
	if (sums->downtime_us > 0)
		text_addf(&text, ",\"downtime_us\":%" PRIu64, sums->downtime_us);
	if (sums->lazy_us > 0)
		text_addf(&text, ",\"lazy_us\":%" PRIu64, sums->lazy_us);
	text_addf(&text, ",\"stalls\":%" PRIu64 ",\"stall_us\":%" PRIu64 ",\"stall_max_us\":%" PRIu64 ",\"tasks\":\"", sums->stalls,
		  sums->stall_us, sums->stall_max_us);
	for (size_t i = 0; i < sums->n_tasks && i < SUMS_TASKS_MAX; i++)
		text_addf(&text, "%s%d/%" PRIu64 "/%" PRIu64 "/%" PRIu64, i > 0 ? " " : "", sums->tasks[i]->pid, sums->tasks[i]->stalls,
			  sums->tasks[i]->stall_us, sums->tasks[i]->stall_max_us);
	text_add(&text, "\"");
	return text_take(&text);
}
