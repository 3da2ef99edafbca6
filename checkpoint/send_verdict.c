/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the commit the target alone decides. Its word, and how a container goes on here that never ran there.
 */
#include "checkpoint/send.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/bridge.h"
#include "checkpoint/departure.h"
#include "checkpoint/tcp_repair.h"
#include "checkpoint/verdict.h"

#define STATUS_MAX 65536U

static char task_state(pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/stat", (int) pid);
	auto_free char *text = NULL;
	struct error ignored;
	const char *state = NULL;

	if (file_read(AT_FDCWD, path, 4096, &text, NULL, &ignored) == 0)
		state = strrchr(text, ')');
	return state != NULL && state[1] == ' ' ? state[2] : '?';
}

bool send_task_is_stopped(pid_t pid)
{
	char state = task_state(pid);

	return state == 'T' || state == 't';
}

int send_record_begun(struct sender_state *self, struct error *err)
{
	struct proc_tasks tasks;
	int r = proc_tasks_read(&tasks, self->spec->pid, err);

	if (r < 0)
		return r;
	self->record.stopped_pids = calloc(tasks.count + 1, sizeof(uint32_t));
	for (size_t i = 0; self->record.stopped_pids != NULL && i < tasks.count; i++) {
		if (task_state(tasks.items[i].pid) == 'T')
			self->record.stopped_pids[self->record.n_stopped_pids++] = (uint32_t) tasks.items[i].pid;
	}
	proc_tasks_deinit(&tasks);
	self->boot_id = verdict_boot_id();
	self->record.boot_id = self->boot_id;
	self->departure = departure_path(self->spec->departures, &self->record);
	self->record.departure = self->departure;
	/* in this order: who finds the record knows what to remove */
	r = handover_write(self->spec->state, &self->record, HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN, err);
	return r < 0 ? r : departure_note(&self->record, err);
}

static bool stood_still(const Hydra__V1__HandoverRecord *record, pid_t pid)
{
	for (size_t i = 0; i < record->n_stopped_pids; i++) {
		if (record->stopped_pids[i] == (uint32_t) pid)
			return true;
	}
	return false;
}

static void signal_tasks(const struct proc_tasks *tasks, int signal_number)
{
	for (size_t i = 0; i < tasks->count; i++)
		(void) kill(tasks->items[i].pid, signal_number);
}

void send_stop(const struct sender_state *self)
{
	signal_tasks(&self->pages.tasks, SIGSTOP);
}

void send_kill(const struct sender_state *self)
{
	signal_tasks(&self->pages.tasks, SIGKILL);
}

/* It stands still by a signal, or will as soon as it gets a processor. */
static bool was_stopped(pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/status", (int) pid);
	auto_free char *text = NULL;
	struct error ignored;
	const char *pending;

	if (task_state(pid) == 'T')
		return true;
	if (file_read(AT_FDCWD, path, STATUS_MAX, &text, NULL, &ignored) < 0 || (pending = strstr(text, "\nShdPnd:\t")) == NULL)
		return false;
	return (strtoull(pending + strlen("\nShdPnd:\t"), NULL, 16) >> (SIGSTOP - 1) & 1) != 0;
}

/* All that send_stop() stopped, and nothing else: programs notice a SIGCONT. */
static int continue_tasks(const Hydra__V1__HandoverRecord *record, pid_t init, struct error *err)
{
	struct proc_tasks tasks;
	int r = proc_tasks_read(&tasks, init, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < tasks.count; i++) {
		if (!stood_still(record, tasks.items[i].pid) && was_stopped(tasks.items[i].pid))
			(void) kill(tasks.items[i].pid, SIGCONT);
	}
	proc_tasks_deinit(&tasks);
	return 0;
}

int send_take_verdict(struct sender_state *self, const struct frame *frame, struct error *err)
{
	Hydra__V1__HandoffVerdict *verdict = hydra__v1__handoff_verdict__unpack(NULL, frame->size, frame->data);

	if (verdict == NULL)
		return fail_because(err, EPROTO, "the target's verdict is not understood");
	self->verdict = (Hydra__V1__HandoverState) verdict->state;
	self->is_lost_there = verdict->is_lost;
	if (self->verdict == HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED && verdict->epoch == self->spec->epoch)
		(void) fail_because(err, ECANCELED, "the target gave it up: %.300s", verdict->message);
	else
		(void) fail_because(err, ENOTRECOVERABLE, "the target says: %.300s", verdict->message);
	hydra__v1__handoff_verdict__free_unpacked(verdict, NULL);
	return err->code;
}

/* First the record, so that who comes after us goes on with it. */
int send_take_back(struct sender_state *self, struct error *err)
{
	const Hydra__V1__HandoverRecord *record = &self->record;
	int r = handover_write(self->spec->state, &self->record, HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED, err);
	struct error problem;

	if (r < 0)
		return r;
	if (veth_plug_again(record->veth, record->bridge, &problem) < 0)
		log_error("network could not be plugged again", "container=%s reason=\"%s\"", self->spec->id, problem.message);
	if (tcp_repair_off(self->spec->pid, &problem) < 0)
		log_error("TCP connections could not be given back", "container=%s reason=\"%s\"", self->spec->id, problem.message);
	dump_abort(&self->dump);
	r = continue_tasks(record, self->spec->pid, err);
	send_give_packets_back(self);
	return r;
}

int send_continue(struct sender_state *self, struct error *err)
{
	return continue_tasks(&self->record, self->spec->pid, err);
}

int send_recover(const char *state, const char *migration_id, int pid, const char *veth, const char *bridge, struct error *err)
{
	Hydra__V1__HandoverRecord *record = NULL;
	struct error ignored;
	int r = veth_plug_again(veth, bridge, err);

	if (r == 0)
		r = tcp_repair_off(pid, err);
	send_announce(pid, veth);
	if (state == NULL || handover_read(state, &record, &ignored) < 0)
		return r; /* nothing was stopped by then */
	if (migration_id != NULL && strcmp(record->migration_id, migration_id) == 0 && continue_tasks(record, pid, &ignored) < 0)
		log_warning("tasks not continued", "container=%s reason=\"%s\"", record->container_id, ignored.message);
	departure_forget(record);
	hydra__v1__handover_record__free_unpacked(record, NULL);
	return r;
}
