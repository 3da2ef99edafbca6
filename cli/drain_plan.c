/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/drain_plan.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static int compare_numbers(uint64_t left, uint64_t right)
{
	return (left > right) - (left < right);
}

static int compare(const void *left, const void *right, void *context)
{
	const struct host_container *a = ((const struct drain_step *) left)->container, *b = ((const struct drain_step *) right)->container;
	const enum drain_order *order = context;
	int r = 0;

	if (*order == DRAIN_SMALLEST_FIRST)
		r = compare_numbers(a->memory_bytes, b->memory_bytes);
	else if (*order == DRAIN_LARGEST_FIRST)
		r = compare_numbers(b->memory_bytes, a->memory_bytes);
	else if (*order == DRAIN_YOUNGEST_FIRST)
		r = compare_numbers(a->age_ns, b->age_ns);
	if (r == 0)
		r = strcmp(a->namespace, b->namespace);
	return r != 0 ? r : strcmp(a->id, b->id);
}

static void say(struct drain_step *step, const struct host_report *target, const char *reason)
{
	size_t used = strlen(step->why);

	(void) text_fit(step->why + used, sizeof(step->why) - used, "%s%s: %.100s", used > 0 ? "; " : "", target->name, reason);
}

/* NULL: nothing. */
static const char *obstacle(const struct host_container *container, const struct host_report *target, uint64_t available_bytes)
{
	if (target->problem[0] != '\0')
		return target->problem;
	if (host_report_has(target, container->namespace, container->id))
		return "a container of this name is there";
	return container->memory_bytes + DRAIN_SPARE_BYTES > available_bytes ? "not enough memory is free" : NULL;
}

bool drain_target_fits(const struct host_container *container, const struct host_report *target)
{
	return obstacle(container, target, target->available_bytes) == NULL;
}

/* Why a target can't have it, in step->why; else true. */
static bool fits(struct drain_step *step, const struct host_report *target, uint64_t available_bytes)
{
	const char *reason = obstacle(step->container, target, available_bytes);

	if (reason != NULL)
		say(step, target, reason);
	return reason == NULL;
}

static void place(struct drain_step *step, const struct host_report *targets, size_t count, uint64_t *available)
{
	size_t best = count;

	if (step->container->immovable[0] != '\0') {
		(void) text_fit(step->why, sizeof(step->why), "%.200s", step->container->immovable);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (fits(step, &targets[i], available[i]) && (best == count || available[i] > available[best]))
			best = i;
	}
	if (best == count)
		return;
	step->target = &targets[best];
	step->why[0] = '\0';
	available[best] -= step->container->memory_bytes;
}

struct drain_step *drain_plan(const struct host_report *from, const struct host_report *targets, size_t target_count, enum drain_order order)
{
	struct drain_step *steps = calloc(from->container_count + 1, sizeof(*steps));
	uint64_t *available = calloc(target_count + 1, sizeof(*available));

	if (steps == NULL || available == NULL) {
		free(steps);
		free(available);
		return NULL;
	}
	for (size_t i = 0; i < target_count; i++)
		available[i] = targets[i].available_bytes;
	for (size_t i = 0; i < from->container_count; i++)
		steps[i].container = &from->containers[i];
	qsort_r(steps, from->container_count, sizeof(*steps), compare, &order);
	for (size_t i = 0; i < from->container_count; i++)
		place(&steps[i], targets, target_count, available);
	free(available);
	return steps;
}
