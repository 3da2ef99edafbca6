/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/restart.h"

#include "base/clock.h"
#include "base/log.h"
#include "shim/container.h"
#include "shim/shim.h"

#define DELAY_FIRST_NS (100 * NS_PER_MS)
#define DELAY_MAX_NS   (60 * NS_PER_S)
#define RAN_WELL_NS    (10 * NS_PER_S)

bool restart_is_due(const Hydra__V1__RestartPolicy *policy, const exit_record *exit, uint32_t restart_count,
		    bool stop_was_asked)
{
	Hydra__V1__RestartMode mode = policy != NULL ? policy->mode : HYDRA__V1__RESTART_MODE__RESTART_NO;

	if (stop_was_asked)
		return false;
	if (mode == HYDRA__V1__RESTART_MODE__RESTART_ALWAYS || mode == HYDRA__V1__RESTART_MODE__RESTART_UNLESS_STOPPED)
		return true;
	if (mode != HYDRA__V1__RESTART_MODE__RESTART_ON_FAILURE)
		return false;
	/* an unknown status is no success */
	if (exit->is_known && exit->exit_code == 0)
		return false;
	return policy->maximum_retries == 0 || restart_count < policy->maximum_retries;
}

uint64_t restart_delay(uint64_t previous_delay_ns, uint64_t ran_ns)
{
	if (previous_delay_ns == 0 || ran_ns >= RAN_WELL_NS)
		return DELAY_FIRST_NS;
	return previous_delay_ns * 2 < DELAY_MAX_NS ? previous_delay_ns * 2 : DELAY_MAX_NS;
}

bool restart_is_wanted(struct container *container)
{
	const record *kept = container->record;
	const exit_record *exit = container->init != NULL ? container->init->exit : NULL;

	return exit != NULL && !migration_is_handed_over(container) && kept->restore_images[0] == '\0' &&
	       restart_is_due(kept->restart, exit, kept->restart_count, kept->stop_was_asked);
}

void restart_consider(struct container *container)
{
	const exit_record *exit = container->init != NULL ? container->init->exit : NULL;

	if (!container->record->restart_is_pending)
		return;
	container->restart_delay_ns = restart_delay(container->restart_delay_ns, exit != NULL ? exit->finished_ns - exit->started_ns : 0);
	event_loop_arm(&container->shim->loop, &container->restart_timer, container->restart_delay_ns);
}

static void started(struct container *container, const struct error *err, void *context)
{
	(void) context;
	if (err->code < 0)
		log_error("container not restarted", "container=%s error=\"%s\"", container->dir.id, err->message);
}

void restart_start(struct container *container)
{
	container_start(container, started, NULL);
}

static void created(struct container *container, const struct error *err, void *context)
{
	if (err->code < 0)
		started(container, err, context);
	else
		restart_start(container);
}

void restart_now(struct event_timer *timer)
{
	struct container *container = timer->context;

	container->record->restart_count++;
	container_create(container, created, NULL);
}
