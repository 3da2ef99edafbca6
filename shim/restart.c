/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/restart.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "shim/container.h"
#include "shim/shim.h"

#include <signal.h>

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

static uint64_t time_it_ran(const struct container *container)
{
	const exit_record *exit = container->init != NULL ? container->init->exit : NULL;

	/* somebody may have set the clock back */
	return exit != NULL && exit->finished_ns > exit->started_ns ? exit->finished_ns - exit->started_ns : 0;
}

void restart_consider(struct container *container)
{
	char detail[32];

	if (!container->record->restart_is_pending)
		return;
	container->restart_delay_ns = restart_delay(container->restart_delay_ns, time_it_ran(container));
	(void) text_fit(detail, sizeof(detail), "in %llu ms", (unsigned long long) (container->restart_delay_ns / NS_PER_MS));
	container_note(container, "restart-due", NULL, detail);
	event_loop_arm(&container->shim->loop, &container->restart_timer, container->restart_delay_ns);
}

void restart_begin_anew(struct container *container)
{
	record *kept = container->record;
	struct error err;

	container->restart_delay_ns = 0;
	if (!kept->stop_was_asked && kept->restart_count == 0)
		return;
	kept->stop_was_asked = false;
	kept->restart_count = 0;
	if (container_save(container, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", container->dir.id, err.message);
}

static void note_failure(struct container *container, const struct error *err)
{
	log_error("container not restarted", "container=%s error=\"%s\"", container->dir.id, err->message);
	container_note(container, "restart-failed", NULL, err->message);
}

/* What is left of it has not run, and may never: its end is one as any other. */
static void end_it(struct container *container)
{
	struct error err;

	if (!container->init->has_ended && container_kill(container, container->init, SIGKILL, false, &err) < 0)
		log_error("container not killed", "container=%s error=\"%s\"", container->dir.id, err.message);
}

static void started(struct container *container, const struct error *err, void *context)
{
	(void) context;
	if (err->code == 0)
		return;
	note_failure(container, err);
	end_it(container);
}

void restart_start(struct container *container)
{
	container_start(container, started, NULL);
}

/* There is no next run: it stays stopped, as its last one left it. */
static void give_up(struct container *container, const struct error *reason)
{
	struct error err;

	note_failure(container, reason);
	container->record->restart_is_pending = false;
	container->record->state = HYDRA__V1__CONTAINER_STATE__STATE_STOPPED;
	if (container_save(container, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", container->dir.id, err.message);
	if (container->init != NULL)
		process_free(container->init);
	container->init = process_new(container, "");
	if (container->init != NULL) {
		container->init->has_ended = true;
		(void) exit_record_load(container->dir.fd, "", &container->init->exit, &err);
	}
	container_clean(container);
}

static bool is_made(const struct process *init)
{
	return init != NULL && (init->pid > 0 || init->has_ended);
}

static void created(struct container *container, const struct error *err, void *context)
{
	(void) context;
	if (!is_made(container->init))
		give_up(container, err);
	else if (err->code < 0)
		started(container, err, NULL);
	else if (container->record->stop_was_asked)
		end_it(container);
	else
		restart_start(container);
}

void restart_now(struct event_timer *timer)
{
	struct container *container = timer->context;

	container->record->restart_count++;
	container_create(container, created, NULL);
}
