/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/container.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/client.h"
#include "shim/containerd.h"
#include "shim/deferred.h"
#include "shim/fifo.h"
#include "shim/restart.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void kill_now(struct event_timer *timer);

int container_open(struct container **ret_self, struct shim *shim, const char *id, struct error *err)
{
	struct container *self = calloc(1, sizeof(*self));
	int r;

	if (self == NULL)
		return fail_errno(err, ENOMEM, "open container '%s'", id);
	self->shim = shim;
	self->dir = RUN_DIR_CLOSED;
	self->journal.fd = FD_NONE;
	self->lease.fd = self->keeper.fd = FD_NONE;
	self->is_cleaned = true;
	self->kill_timer = (struct event_timer){.handle = kill_now, .context = self};
	self->restart_timer = (struct event_timer){.handle = restart_now, .context = self};
	r = run_dir_open(&self->dir, shim->root, shim->namespace, id, err);
	if (r == 0)
		r = shim->lock_fd >= 0 ? (self->dir.lock_fd = take_fd(&shim->lock_fd), 0)
				       : run_dir_lock(&self->dir, LOCK_SHIM, err);
	if (r == RUN_DIR_LOCKED_BY_OTHER)
		r = fail_because(err, EBUSY, "container '%s' has a shim already", id);
	if (r == 0)
		r = record_load(self->dir.fd, &self->record, err);
	if (r == 0)
		r = journal_open(&self->journal, self->dir.fd, err);
	if (r < 0) {
		container_free(self);
		return r;
	}
	self->next = shim->containers;
	shim->containers = self;
	*ret_self = self;
	return 0;
}

void container_free(struct container *self)
{
	for (struct container **link = &self->shim->containers; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	event_loop_disarm(&self->shim->loop, &self->kill_timer);
	event_loop_disarm(&self->shim->loop, &self->restart_timer);
	event_loop_disarm(&self->shim->loop, &self->health_timer);
	migration_hold(self, FD_NONE);
	keeper_forget(self);
	deferred_refuse(self);
	while (self->processes != NULL)
		process_free(self->processes);
	fifos_forget_kept(self);
	journal_close(&self->journal);
	record_free(self->record);
	run_dir_close(&self->dir);
	free(self);
}

int container_save(struct container *self, struct error *err)
{
	self->record->shim_pid = getpid();
	return record_save(self->dir.fd, self->record, err);
}

int container_move(struct container *self, enum lifecycle_event on, struct error *err)
{
	Hydra__V1__ContainerState state = self->record->state;

	if (lifecycle_next(&state, on) == LIFECYCLE_REFUSED)
		return fail_because(err, EBUSY, "container '%s' is %s", self->dir.id, state_name(state));
	self->record->state = state;
	return container_save(self, err);
}

static void answer_waiting_events(struct container *self);

void container_note(struct container *self, const char *type, const struct process *process, const char *detail)
{
	event entry = HYDRA__V1__EVENT__INIT;
	char empty[] = "";
	struct error err;

	entry.type = (char *) (uintptr_t) type;
	entry.container_id = self->dir.id;
	entry.exec_id = process != NULL ? (char *) (uintptr_t) process->exec_id : empty;
	entry.pid = process != NULL ? process->pid : 0;
	entry.exit = process != NULL ? process->exit : NULL;
	entry.detail = detail != NULL ? (char *) (uintptr_t) detail : empty;
	if (journal_append(&self->journal, &entry, &err) < 0)
		log_error("event not written", "container=%s type=%s error=\"%s\"", self->dir.id, type, err.message);
	answer_waiting_events(self);
	if (self->shim->containerd != NULL)
		containerd_events_send(self->shim->containerd);
}

static void answer_waiting_events(struct container *self)
{
	struct ttrpc_call *call = self->waiting_events;

	self->waiting_events = NULL;
	while (call != NULL) {
		struct ttrpc_call *next = call->waiting_next;

		call->method->handle(call, NULL);
		call = next;
	}
}

struct process *container_find(struct container *self, const char *exec_id)
{
	if (exec_id[0] == '\0')
		return self->init;
	for (struct process *process = self->processes; process != NULL; process = process->next) {
		if (strcmp(process->exec_id, exec_id) == 0)
			return process;
	}
	return NULL;
}

/* One operation with the runtime at a time. */
bool container_begin(struct container *self, const char *operation, container_then *then, void *context)
{
	struct error err;

	if (migration_is_under_way(self)) {
		(void) fail_because(&err, EBUSY, "%s container '%s': it is being migrated to %s", operation, self->dir.id,
				    self->record->migration->peer);
		then(self, &err, context);
		return false;
	}
	if (self->operation != NULL) {
		(void) fail_because(&err, EBUSY, "%s container '%s': it is busy with %s", operation, self->dir.id,
				    self->operation);
		then(self, &err, context);
		return false;
	}
	self->operation = operation;
	self->then = then;
	self->then_context = context;
	return true;
}

void container_finish(struct container *self, const struct error *err)
{
	container_then *then = self->then;
	struct shim *shim = self->shim;

	self->then = NULL;
	self->operation = NULL;
	if (err->code < 0)
		log_error("operation failed", "container=%s error=\"%s\"", self->dir.id, err->message);
	then(self, err, self->then_context);
	for (struct process *process = self->processes; process != NULL; process = process->next)
		process_watch_end(process);
	deferred_run(self);
	/* that, or what follows, may have been the last that was to be done for self: it is not used any more */
	shim_reap(shim);
	shim_consider_end(shim);
}

static void pause_done(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	bool pauses = strcmp(self->operation, "pause") == 0;
	struct error err = ERROR_NONE;

	(void) shim;
	if (exit_status != 0)
		(void) runtime_failure(self, self->operation, exit_status, &err);
	else if (container_move(self, pauses ? EVENT_PAUSED : EVENT_RESUMED, &err) == 0)
		container_note(self, pauses ? "paused" : "resumed", NULL, NULL);
	container_finish(self, &err);
}

static void pause_or_resume(struct container *self, const char *operation, Hydra__V1__ContainerState needed,
			    container_then *then, void *context)
{
	const char *arguments[] = {self->dir.id, NULL};
	struct error err = ERROR_NONE;

	if (!container_begin(self, operation, then, context))
		return;
	if (self->record->state != needed)
		(void) fail_because(&err, EBUSY, "%s container '%s': it is %s", operation, self->dir.id,
				    state_name(self->record->state));
	else
		(void) runtime_start(self, operation, arguments, NULL, 0, pause_done, self, &err);
	if (err.code < 0)
		container_finish(self, &err);
}

void container_pause(struct container *self, container_then *then, void *context)
{
	pause_or_resume(self, "pause", HYDRA__V1__CONTAINER_STATE__STATE_RUNNING, then, context);
}

void container_resume(struct container *self, container_then *then, void *context)
{
	pause_or_resume(self, "resume", HYDRA__V1__CONTAINER_STATE__STATE_PAUSED, then, context);
}

static void ignore_result(struct shim *shim, int exit_status, void *context)
{
	(void) exit_status;
	(void) context;
	shim_consider_end(shim);
}

/* What is frozen hears of no signal, not even of SIGKILL, before it is thawed. */
static void thaw_to_die(struct container *self)
{
	const char *arguments[] = {self->dir.id, NULL};
	struct error err;

	if (runtime_start(self, "resume", arguments, NULL, 0, ignore_result, NULL, &err) < 0)
		log_error("container not thawed", "container=%s error=\"%s\"", self->dir.id, err.message);
}

int container_kill(struct container *self, struct process *process, int signal_number, bool all, struct error *err)
{
	char number[16];
	const char *arguments[] = {"--all", self->dir.id, number, NULL};

	if (process == NULL || process->pidfd < 0 || process->has_ended)
		return fail_because(err, ESRCH, "process already finished");
	if (migration_is_under_way(self) && !migration_is_handed_over(self))
		return fail_because(err, EBUSY, "container '%s' is being migrated to %s", self->dir.id, self->record->migration->peer);
	if (signal_number < 1 || signal_number > SIGRTMAX)
		return fail_because(err, EINVAL, "signal %d: expected 1 to %d", signal_number, SIGRTMAX);
	(void) text_fit(number, sizeof(number), "%d", signal_number);
	if (all)
		return runtime_start(self, "kill", arguments, NULL, 0, ignore_result, NULL, err);
	if (kernel_pidfd_send_signal(process->pidfd, signal_number) < 0)
		return errno == ESRCH ? fail_because(err, ESRCH, "process already finished")
				      : fail_errno(err, errno, "send signal %d to process %d", signal_number, process->pid);
	if (signal_number == SIGKILL && self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_PAUSED)
		thaw_to_die(self);
	return 0;
}

static void kill_now(struct event_timer *timer)
{
	struct container *self = timer->context;
	struct error err;

	if (container_kill(self, self->init, SIGKILL, false, &err) < 0)
		log_error("container not killed", "container=%s error=\"%s\"", self->dir.id, err.message);
}

int container_stop(struct container *self, uint32_t timeout_s, uint32_t signal_number, struct error *err)
{
	int number = timeout_s == 0 ? SIGKILL : signal_number != 0 ? (int) signal_number : SIGTERM;
	int r;

	if (migration_is_under_way(self) && !migration_is_handed_over(self))
		return fail_because(err, EBUSY, "container '%s' is being migrated to %s", self->dir.id, self->record->migration->peer);
	self->awaits_workers = false;
	self->record->stop_was_asked = true;
	self->record->restart_is_pending = false;
	r = container_save(self, err);
	if (r < 0)
		return r;
	fault_point("shim.stop-noted");
	event_loop_disarm(&self->shim->loop, &self->restart_timer);
	if (self->init == NULL || self->init->has_ended)
		return 0;
	/* SIGTERM would not be heard before a thaw */
	if (self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_PAUSED)
		number = SIGKILL;
	r = container_kill(self, self->init, number, false, err);
	fault_point("shim.stop-signal-sent");
	if (r == 0 && number != SIGKILL)
		event_loop_arm(&self->shim->loop, &self->kill_timer, timeout_s * NS_PER_S);
	return r;
}

bool container_is_stopping(const struct container *self)
{
	return self->kill_timer.due_ns != 0;
}

bool container_is_at_rest(const struct container *self)
{
	if (self->operation != NULL || self->awaits_workers || self->lease.fd >= 0 || !self->is_cleaned ||
	    self->restart_timer.due_ns != 0)
		return false;
	for (const struct process *process = self->processes; process != NULL; process = process->next) {
		if ((process->pid > 0 && !process->has_ended) || !process_is_drained(process) || process->clients != NULL ||
		    (process->log != NULL && output_is_busy(process->log)))
			return false;
	}
	return true;
}
