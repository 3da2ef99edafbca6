/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/health.h"

#include "base/clock.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/owned.h"
#include "proto/message.h"
#include "shim/shim.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define INTERVAL_DEFAULT_NS (30 * NS_PER_S)
#define TIMEOUT_DEFAULT_NS  (30 * NS_PER_S)
#define RETRIES_DEFAULT     3
#define BUSY_NS             (100 * NS_PER_MS) /* another operation is under way: tried again */

static const char *const names[] = {"none", "starting", "healthy", "unhealthy"};

bool health_take(Hydra__V1__Health *health, const Hydra__V1__HealthCheck *check, uint32_t exit_code, uint64_t started_ns,
		 uint64_t now_ns)
{
	Hydra__V1__HealthStatus before = health->status;
	uint32_t retries = check->retries != 0 ? check->retries : RETRIES_DEFAULT;
	bool is_starting = before == HYDRA__V1__HEALTH_STATUS__HEALTH_STARTING && now_ns < started_ns + check->start_period_ns;

	health->checked_ns = now_ns;
	health->exit_code = exit_code;
	if (exit_code == 0) {
		health->failures = 0;
		health->status = HYDRA__V1__HEALTH_STATUS__HEALTH_HEALTHY;
	} else if (!is_starting) {
		health->failures++;
		if (health->failures >= retries)
			health->status = HYDRA__V1__HEALTH_STATUS__HEALTH_UNHEALTHY;
	}
	return health->status != before;
}

static const Hydra__V1__HealthCheck *check_of(const struct container *self)
{
	const Hydra__V1__HealthCheck *check = self->record->health_check;

	return check != NULL && check->process_json.len > 0 ? check : NULL;
}

bool health_is_check(const struct process *process)
{
	return strcmp(process->exec_id, HEALTH_EXEC_ID) == 0;
}

/* For the next check. */
static void arm(struct container *self)
{
	const Hydra__V1__HealthCheck *check = check_of(self);

	event_loop_arm(&self->shim->loop, &self->health_timer, check->interval_ns != 0 ? check->interval_ns : INTERVAL_DEFAULT_NS);
}

/* For the end of the check that runs. */
static void arm_timeout(struct container *self)
{
	const Hydra__V1__HealthCheck *check = check_of(self);

	event_loop_arm(&self->shim->loop, &self->health_timer, check->timeout_ns != 0 ? check->timeout_ns : TIMEOUT_DEFAULT_NS);
}

static void take_result(struct container *self, uint32_t exit_code)
{
	Hydra__V1__Health *health = self->record->health;
	struct error err;

	if (health_take(health, check_of(self), exit_code, self->record->started_ns, clock_realtime_ns())) {
		container_note(self, "health", NULL, names[health->status]);
		if (container_save(self, &err) < 0)
			log_error("record not written", "container=%s error=\"%s\"", self->dir.id, err.message);
	}
	arm(self);
}

/* The runtime's part of a check is over: it runs, or could not be started, which is a failure too. */
static void begun(struct container *self, const struct error *err, void *context)
{
	(void) context;
	if (check_of(self) == NULL || self->record->state != HYDRA__V1__CONTAINER_STATE__STATE_RUNNING)
		return;
	if (err->code < 0)
		take_result(self, 126);
	else
		arm_timeout(self);
}

/* The interval is over: a check is due; or the time of the check that runs is. */
static void handle_timer(struct event_timer *timer)
{
	struct container *self = timer->context;
	const Hydra__V1__HealthCheck *check = check_of(self);
	struct process *process = container_find(self, HEALTH_EXEC_ID);

	if (process != NULL && !process->has_ended && process->pidfd >= 0) {
		(void) kernel_pidfd_send_signal(process->pidfd, SIGKILL); /* its end is its result */
		return;
	}
	if (check == NULL)
		return;
	if (self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_PAUSED) { /* nothing can be found out */
		arm(self);
		return;
	}
	if (self->operation != NULL || self->shim->upgrade.call != NULL || migration_is_under_way(self) || process != NULL ||
	    self->record->state != HYDRA__V1__CONTAINER_STATE__STATE_RUNNING) {
		event_loop_arm(&self->shim->loop, timer, BUSY_NS);
		return;
	}
	process = process_new(self, HEALTH_EXEC_ID);
	if (process != NULL)
		container_exec(process, check->process_json.data, check->process_json.len, begun, NULL);
	else
		arm(self);
}

bool health_interrupt(struct container *self)
{
	struct process *process = container_find(self, HEALTH_EXEC_ID);

	if (process == NULL || process->has_ended || process->pidfd < 0)
		return false;
	self->is_check_interrupted = true;
	(void) kernel_pidfd_send_signal(process->pidfd, SIGKILL);
	return true;
}

void health_begin(struct container *self)
{
	static const Hydra__V1__Health none = HYDRA__V1__HEALTH__INIT;
	const struct process *running = container_find(self, HEALTH_EXEC_ID);

	if (check_of(self) == NULL)
		return;
	if (self->record->health == NULL)
		self->record->health = (Hydra__V1__Health *) (void *) message_copy(&none.base);
	if (self->record->health == NULL)
		return;
	self->health_timer = (struct event_timer){.handle = handle_timer, .context = self};
	if (self->record->health->status == HYDRA__V1__HEALTH_STATUS__HEALTH_NONE)
		self->record->health->status = HYDRA__V1__HEALTH_STATUS__HEALTH_STARTING;
	if (running != NULL && !running->has_ended) /* begun by a shim before us */
		arm_timeout(self);
	else
		arm(self);
}

void health_end(struct container *self)
{
	if (self->health_timer.handle != NULL)
		event_loop_disarm(&self->shim->loop, &self->health_timer);
	/* the next start begins anew */
	message_free(self->record->health);
	self->record->health = NULL;
}

bool health_ended(struct container *self, const struct process *process)
{
	if (!health_is_check(process))
		return false;
	event_loop_disarm(&self->shim->loop, &self->health_timer);
	if (self->is_check_interrupted && check_of(self) != NULL) { /* by us: it says nothing */
		self->is_check_interrupted = false;
		arm(self);
	} else if (check_of(self) != NULL && self->record->health != NULL &&
	    self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_RUNNING)
		take_result(self, process->exit != NULL && process->exit->is_known ? process->exit->exit_code : 126);
	return true;
}

int health_update(struct container *self, const Hydra__V1__HealthCheck *check, struct error *err)
{
	Hydra__V1__HealthCheck *copy = (Hydra__V1__HealthCheck *) (void *) message_copy(&check->base);
	bool runs = self->init != NULL && self->init->pid > 0 && !self->init->has_ended && self->init->has_started;

	if (copy == NULL)
		return fail_errno(err, ENOMEM, "change the health check of '%s'", self->dir.id);
	health_end(self);
	message_free(self->record->health_check);
	self->record->health_check = copy;
	if (runs)
		health_begin(self);
	return 0;
}
