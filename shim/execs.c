/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running execs in the record, so that a successor finds them; execs that are over.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/container.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_RECORDS_KEPT 128

static Hydra__V1__ExecRecord *exec_record(const struct process *process)
{
	Hydra__V1__ExecRecord *self = malloc(sizeof(*self));

	if (self == NULL)
		return NULL;
	hydra__v1__exec_record__init(self);
	self->id = text_copy(process->exec_id);
	self->pid = process->pid;
	self->start_time = process->start_time;
	self->terminal = process->is_terminal;
	self->started_ns = process->started_ns;
	self->has_ended = process->has_ended;
	self->waits_for_client = process->waits_for_client;
	self->is_added = process->is_added;
	self->open_stdin = process->open_stdin;
	if (process->stdio_names[0] != NULL)
		(void) message_set_strings(&self->stdio, &self->n_stdio, (const char *const *) process->stdio_names, 3);
	return self;
}

static void forget_list(record *self)
{
	for (size_t i = 0; i < self->n_execs; i++)
		message_free(self->execs[i]);
	free(self->execs);
	self->execs = NULL;
	self->n_execs = 0;
}

/* Something of it is left that a successor is to go on with. */
static bool is_to_be_listed(const struct container *self, const struct process *process)
{
	return process != self->init && (process->pid > 0 || process->is_being_made || process->is_added) &&
	       (!process->has_ended || process->stdio_names[0] != NULL || !process_is_drained(process) || process->clients != NULL);
}

int container_list_execs(struct container *self, struct error *err)
{
	size_t count = 0;

	forget_list(self->record);
	for (const struct process *process = self->processes; process != NULL; process = process->next)
		count += is_to_be_listed(self, process);
	if (count == 0)
		return 0;
	self->record->execs = calloc(count, sizeof(*self->record->execs));
	if (self->record->execs == NULL)
		return fail_errno(err, ENOMEM, "list the execs of '%s'", self->dir.id);
	for (const struct process *process = self->processes; process != NULL; process = process->next) {
		Hydra__V1__ExecRecord *item;

		if (!is_to_be_listed(self, process))
			continue;
		item = exec_record(process);
		if (item != NULL)
			self->record->execs[self->record->n_execs++] = item;
	}
	return 0;
}

static void adopt(struct container *self, const Hydra__V1__ExecRecord *item)
{
	struct process *process = process_new(self, item->id);
	struct error err;

	if (process == NULL)
		return;
	process->is_terminal = item->terminal;
	process->started_ns = item->started_ns;
	process->start_time = item->start_time;
	process->waits_for_client = item->waits_for_client;
	process->is_added = item->is_added;
	process->open_stdin = item->open_stdin;
	for (size_t i = 0; i < item->n_stdio && i < 3; i++)
		process->stdio_names[i] = text_copy(item->stdio[i]);
	process->is_being_made = item->pid == 0; /* or added only: what was asked of the runtime is settled soon */
	if (process->is_being_made)
		return;
	process->has_started = true;
	process->has_ended = item->has_ended && exit_record_load(self->dir.fd, item->id, &process->exit, &err) == 0;
	if (!process->has_ended && process_is_there(item->pid, item->start_time) && process_follow(process, item->pid, &err) < 0)
		log_error("exec not adopted", "container=%s exec=%s error=\"%s\"", self->dir.id, item->id, err.message);
	process->pid = item->pid;
	if (process->pidfd < 0)
		process_await_client(process);
}

void container_adopt_execs(struct container *self)
{
	for (size_t i = 0; i < self->record->n_execs; i++)
		adopt(self, self->record->execs[i]);
}

void container_end_unseen_execs(struct container *self)
{
	for (struct process *process = self->processes; process != NULL; process = process->next) {
		if (process != self->init && process->pidfd < 0 && !process->has_ended && !process->is_being_made)
			process_ended_unseen(process, process->pid);
	}
}

/* There is no process. What containerd added may be started again. */
static void came_to_nothing(struct process *process)
{
	process->is_being_made = false;
	if (process->is_added)
		process_close_stdio(process);
	else
		process_free(process);
}

void container_settle_execs(struct container *self)
{
	struct process *next;
	struct error err;

	for (struct process *process = self->processes; process != NULL; process = next) {
		char name[96];
		pid_t pid;

		next = process->next;
		if (!process->is_being_made)
			continue;
		(void) text_fit(name, sizeof(name), "%s.pid", process->exec_id);
		if (container_read_pid(self, name, &pid, &err) < 0)
			came_to_nothing(process);
		else if (container_exec_started(process, pid, &err) < 0)
			process_ended_unseen(process, pid);
		(void) unlinkat(self->dir.fd, name, 0);
	}
	if (container_list_execs(self, &err) < 0 || container_save(self, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", self->dir.id, err.message);
}

static bool is_over(const struct container *self, const struct process *process)
{
	return process != self->init && process->stdio_names[0] == NULL && process->has_ended && process_is_drained(process) && process->clients == NULL &&
	       process->waiting == NULL && !process->waits_for_client;
}

int container_forget_exec(struct process *process, struct error *err)
{
	struct container *self = process->container;
	char name[96];
	int r;

	(void) text_fit(name, sizeof(name), "%s.json", process->exec_id);
	(void) unlinkat(self->dir.fd, name, 0);
	process_free(process);
	dir_forget_oldest(self->dir.fd, "exit.", EXIT_RECORDS_KEPT, NULL);
	r = container_list_execs(self, err);
	return r < 0 ? r : container_save(self, err);
}

void container_forget_execs(struct container *self)
{
	struct process *next;

	for (struct process *process = self->processes; process != NULL; process = next) {
		next = process->next;
		if (!is_over(self, process))
			continue;
		process_free(process);
		dir_forget_oldest(self->dir.fd, "exit.", EXIT_RECORDS_KEPT, NULL);
	}
}
