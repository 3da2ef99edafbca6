/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a container up with the runtime, and what happens when its processes end.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/containerd.h"
#include "shim/deferred.h"
#include "shim/fifo.h"
#include "shim/health.h"
#include "shim/restart.h"
#include "shim/service.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int container_read_pid(struct container *self, const char *name, pid_t *ret_pid, struct error *err)
{
	auto_free char *text = NULL;
	int pid;
	int r = file_read(self->dir.fd, name, 64, &text, NULL, err);

	if (r < 0)
		return r;
	if (number_parse_int(text, 1, 1 << 30, &pid) < 0)
		return fail_because(err, EPROTO, "the runtime wrote '%s' as the pid of container '%s'", text, self->dir.id);
	*ret_pid = pid;
	return 0;
}

int container_follow_init(struct container *self, pid_t pid, struct error *err)
{
	int r;

	cgroup_find(pid, &self->cgroup);
	self->oom_kills = cgroup_oom_kills(&self->cgroup);
	self->is_cleaned = false;
	r = process_follow(self->init, pid, err);
	if (r == 0 && self->record->pid != pid) {
		self->record->pid = pid;
		self->record->start_time = self->init->start_time;
	}
	return r;
}

void container_name_stdio(struct container *self)
{
	const Hydra__V1__Containerd *task = self->record->containerd;

	for (size_t i = 0; task != NULL && i < task->n_stdio && i < 3; i++)
		self->init->stdio_names[i] = text_copy(task->stdio[i]);
}

int container_new_init(struct container *self, struct error *err)
{
	int r;

	if (self->init != NULL)
		process_free(self->init);
	self->init = process_new(self, "");
	if (self->init == NULL)
		return fail_errno(err, ENOMEM, "create container '%s'", self->dir.id);
	self->init->is_terminal = self->record->terminal;
	self->init->open_stdin = self->record->open_stdin;
	container_name_stdio(self);
	r = process_open_stdio(self->init, err);
	if (r == 0)
		r = fifos_open(self->init, err);
	return r == 0 ? process_open_log(self->init, err) : r;
}

static int created(struct container *self, int exit_status, struct error *err)
{
	pid_t pid = 0;
	int r;

	if (exit_status != 0)
		return runtime_failure(self, "create", exit_status, err);
	fault_point("shim.created");
	exit_record_forget(self->dir.fd, ""); /* not before there is a next life */
	r = container_read_pid(self, "init.pid", &pid, err);
	if (r == 0)
		r = container_follow_init(self, pid, err);
	if (r == 0)
		r = container_move(self, EVENT_CREATED, err);
	if (r == 0)
		container_note(self, "created", self->init, NULL);
	return r;
}

static void create_done(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err = ERROR_NONE;

	(void) shim;
	if (created(self, exit_status, &err) < 0 && self->init->pid == 0) {
		process_free(self->init);
		self->init = NULL;
	}
	container_finish(self, &err);
}

static int begin_create(struct container *self, struct error *err)
{
	auto_free char *pid_path = run_dir_path(&self->dir, "init.pid");
	auto_free char *console_path = run_dir_path(&self->dir, "console.sock");
	const char *arguments[] = {"--bundle", self->record->bundle, "--pid-file", pid_path, self->dir.id,
				   self->record->terminal ? "--console-socket" : NULL, console_path, NULL};
	struct child_fd fds[3];
	int r = 0;

	if (self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED)
		r = container_move(self, EVENT_RECREATE, err);
	if (r == 0 && !message_set_string(&self->record->restore_images, ""))
		r = fail_errno(err, ENOMEM, "create container '%s'", self->dir.id);
	if (r == 0 && self->record->state != HYDRA__V1__CONTAINER_STATE__STATE_CREATING)
		r = fail_because(err, EBUSY, "create container '%s': it is %s", self->dir.id, state_name(self->record->state));
	if (r == 0)
		r = container_new_init(self, err);
	if (r < 0)
		return r;
	for (int i = 0; i < 3; i++)
		fds[i] = (struct child_fd){self->init->child_ends[i], i};
	event_loop_disarm(&self->shim->loop, &self->restart_timer); /* somebody may have been faster */
	(void) unlinkat(self->dir.fd, "init.pid", 0);
	fault_point("shim.before-create");
	return runtime_start(self, "create", arguments, fds, 3, create_done, self, err);
}

void container_create(struct container *self, container_then *then, void *context)
{
	struct error err = ERROR_NONE;

	if (self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_RESTORING)
		container_restore(self, then, context);
	else if (container_begin(self, "create", then, context) && begin_create(self, &err) < 0)
		container_finish(self, &err);
}

int container_started(struct container *self, struct error *err)
{
	int r;

	self->record->restart_is_pending = false;
	r = container_move(self, EVENT_STARTED, err);
	if (r < 0)
		return r;
	self->init->has_started = true;
	container_note(self, "started", self->init, NULL);
	health_begin(self);
	return 0;
}

static void start_done(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err = ERROR_NONE;

	(void) shim;
	if (exit_status != 0)
		(void) runtime_failure(self, "start", exit_status, &err);
	else
		(void) container_started(self, &err);
	container_finish(self, &err);
}

void container_start(struct container *self, container_then *then, void *context)
{
	const char *arguments[] = {self->dir.id, NULL};
	struct error err = ERROR_NONE;

	if (!container_begin(self, "start", then, context))
		return;
	if (self->record->state != HYDRA__V1__CONTAINER_STATE__STATE_CREATED) {
		(void) fail_because(&err, EBUSY, "start container '%s': it is %s", self->dir.id,
				    state_name(self->record->state));
	} else {
		self->record->started_ns = self->init->started_ns = clock_realtime_ns();
		(void) runtime_start(self, "start", arguments, NULL, 0, start_done, self, &err);
	}
	if (err.code < 0)
		container_finish(self, &err);
}

static void cleaned(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err;

	if (exit_status != 0) {
		(void) runtime_failure(self, "delete", exit_status, &err);
		log_error("runtime did not clean up", "container=%s error=\"%s\"", self->dir.id, err.message);
	}
	self->is_cleaned = true;
	restart_consider(self);
	shim_consider_end(shim);
}

void container_clean(struct container *self)
{
	const char *arguments[] = {"--force", self->dir.id, NULL};
	struct error err;

	self->is_cleaned = false;
	if (runtime_start(self, "delete", arguments, NULL, 0, cleaned, self, &err) < 0) {
		log_error("runtime did not clean up", "container=%s error=\"%s\"", self->dir.id, err.message);
		self->is_cleaned = true;
	}
}

static void init_ended(struct container *self)
{
	struct error err;

	event_loop_disarm(&self->shim->loop, &self->kill_timer);
	health_end(self);
	self->record->pid = 0;
	self->record->start_time = 0;
	self->record->restart_is_pending = restart_is_wanted(self);
	if (container_move(self, EVENT_INIT_EXITED, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", self->dir.id, err.message);
	fault_point("shim.stopped");
	for (struct process *process = self->processes; process != NULL; process = process->next)
		process_await_last_client(process);
	container_clean(self);
}

void container_process_ended(struct container *self, struct process *process)
{
	bool has_left = process == self->init && migration_is_handed_over(self);
	const char *by = process != self->init && process->stdio_names[0] != NULL ? CONTAINERD_DETAIL : NULL;
	struct error err;

	if (!health_ended(self, process))
		container_note(self, has_left ? "migrated" : process == self->init ? "exited" : "exec-exited", process,
		       has_left ? self->record->migration->peer : by);
	fault_point("shim.exit-noted");
	if (process == self->init)
		init_ended(self);
	else if (container_list_execs(self, &err) < 0 || container_save(self, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", self->dir.id, err.message);
	service_answer_waiting(process);
	process_resume_output(process); /* nobody is left who could be made to wait */
	if (process_is_drained(process))
		clients_end(process);
	if (health_is_check(process))
		deferred_run(self);
	shim_consider_end(self->shim);
}
