/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over from a shim that died: its record says what it was about to do, the kernel what became of it.
 */
#include "base/fault.h"
#include "base/log.h"
#include "shim/container.h"
#include "shim/deposit.h"
#include "shim/fifo.h"
#include "shim/health.h"
#include "shim/restart.h"
#include "shim/shim.h"

#include <errno.h>

#define STATE(name) HYDRA__V1__CONTAINER_STATE__STATE_##name

/* What its predecessor had open: without a monitor nobody kept it, and the output is lost. */
static void take_deposits(struct container *self)
{
	struct error err = ERROR_NONE;

	container_name_stdio(self);
	if (deposit_take_all(self, &err) < 0)
		log_error("stdio not taken over", "container=%s error=\"%s\"", self->dir.id, err.message);
	for (struct process *process = self->processes; process != NULL; process = process->next) {
		/* what nobody kept may still be there by name */
		if (process->fifos == NULL && !process->is_added && fifos_open(process, &err) < 0)
			log_error("FIFOs not opened", "container=%s error=\"%s\"", self->dir.id, err.message);
	}
	if (process_open_log(self->init, &err) < 0)
		log_error("log not opened", "container=%s error=\"%s\"", self->dir.id, err.message);
	for (struct process *process = self->processes; process != NULL; process = process->next) {
		fifos_start_input(process);
		process_resume_clients(process);
		process_resume_output(process);
	}
}

/* It has ended, and is to be restarted or has left output in its pipes. The runtime may have had the next run half made. */
static int adopt_ended(struct container *self, struct error *err)
{
	struct error ignored;

	self->init->has_ended = true;
	container_adopt_execs(self);
	self->init->is_terminal = self->record->terminal;
	if (exit_record_load(self->dir.fd, "", &self->init->exit, &ignored) == 0) {
		self->init->pid = self->init->exit->pid;
		take_deposits(self);
	}
	/* that run never was: it is counted when it is tried again */
	if (self->record->state == STATE(CREATING) && self->record->restart_count > 0)
		self->record->restart_count--;
	self->record->state = STATE(STOPPED);
	self->record->pid = 0;
	container_note(self, "adopted", self->init, NULL);
	container_settle_execs(self);
	container_end_unseen_execs(self);
	container_clean(self);
	return container_save(self, err);
}

static void go_on(struct container *self, const struct error *err, void *context)
{
	(void) err;
	(void) context;
	if (self->record->state == STATE(CREATED) && self->record->restart_is_pending)
		restart_start(self);
}

static void undone(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err = ERROR_NONE;

	(void) shim;
	(void) exit_status; /* there was nothing to undo */
	container_settle_execs(self);
	/* a start can't be undone */
	if (self->record->state == STATE(CREATED) && !runtime_waits_for_start(self))
		(void) container_started(self, &err);
	container_finish(self, &err);
}

/* A pause, resume or start that the shim before us was about when it died may still go on: the runtime does one thing at a
 * time, so this comes after it. Whoever asked for it was told that it failed. */
static void undo_what_was_half_done(struct container *self)
{
	const char *arguments[] = {self->dir.id, NULL};
	const char *operation = self->record->state == STATE(PAUSED) ? "pause" : "resume";
	struct error err = ERROR_NONE;

	if (self->record->state != STATE(CREATED) && self->record->state != STATE(RUNNING) && self->record->state != STATE(PAUSED))
		return;
	if (container_begin(self, "adopt", go_on, NULL) && runtime_start(self, operation, arguments, NULL, 0, undone, self, &err) < 0)
		container_finish(self, &err);
}

/* The shim before us died when its tasks were about to run; who restored them has left their init's pid and goes on alone. */
static bool is_resumed(struct container *self, struct error *err)
{
	uint64_t start_time;
	pid_t pid;

	return record_resumed_init(self->record, &pid, &start_time) && process_is_there(pid, start_time) &&
	       container_follow_init(self, pid, err) == 0 && container_save(self, err) == 0;
}

static bool init_is_there(struct container *self, struct error *err)
{
	pid_t pid = self->record->pid;

	if (pid <= 0)
		return is_resumed(self, err);
	return process_is_there(pid, self->record->start_time) && container_follow_init(self, pid, err) == 0;
}

static void unmade(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;

	(void) shim;
	(void) exit_status;
	container_finish(self, &(struct error){0});
}

static void made_anew(struct container *self, const struct error *err, void *context)
{
	(void) self;
	(void) err;
	(void) context;
}

/* containerd's Create was not asked for yet, or was under way: what the runtime has of it goes, and the request is carried out
 * (again) when it is gone. */
static int adopt_unmade(struct container *self, struct error *err)
{
	const char *arguments[] = {"--force", self->dir.id, NULL};
	struct error problem;

	container_note(self, "adopted", NULL, NULL);
	if (deposit_take_all(self, &problem) < 0)
		log_error("nothing taken over", "container=%s error=\"%s\"", self->dir.id, problem.message);
	if (container_begin(self, "adopt", made_anew, NULL) && runtime_start(self, "delete", arguments, NULL, 0, unmade, self, err) < 0)
		container_finish(self, err);
	return 0;
}

int container_adopt(struct container *self, struct error *err)
{
	fault_point("shim.adopting");
	if (self->record->containerd != NULL && self->record->state == STATE(CREATING))
		return adopt_unmade(self, err);
	self->init = process_new(self, "");
	if (self->init == NULL)
		return fail_errno(err, ENOMEM, "adopt container '%s'", self->dir.id);
	if (self->record->state == STATE(STOPPED) || (self->record->restart_is_pending && self->record->state == STATE(CREATING)))
		return adopt_ended(self, err);
	self->init->is_terminal = self->record->terminal;
	self->init->started_ns = self->record->started_ns;
	self->init->start_time = self->record->start_time;
	self->init->has_started = true;
	*err = ERROR_NONE;
	if (!init_is_there(self, err) && err->code < 0 && err->code != -ESRCH)
		return err->code;
	container_adopt_execs(self);
	take_deposits(self);
	keeper_resume(self);
	container_note(self, "adopted", self->init, NULL);
	container_end_unseen_execs(self);
	if (self->init->pid <= 0) {
		migration_ended_unseen(self);
		process_ended_unseen(self->init, self->record->pid);
	} else if (self->record->state == STATE(RESTORING)) {
		restore_go_on(self);
	} else if (migration_is_under_way(self)) {
		migration_adopt(self);
	} else {
		undo_what_was_half_done(self);
	}
	if (self->init->pidfd >= 0 && !self->init->has_ended)
		health_begin(self);
	return 0;
}
