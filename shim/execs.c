/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running execs in the record, so that a successor finds them.
 */
#include "base/log.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/container.h"

#include <errno.h>
#include <stdlib.h>

static Hydra__V1__ExecRecord *exec_record(const struct process *process)
{
	Hydra__V1__ExecRecord *self = malloc(sizeof(*self));

	if (self == NULL)
		return NULL;
	hydra__v1__exec_record__init(self);
	self->id = text_copy(process->exec_id);
	self->pid = process->pid;
	self->start_time = process_start_time(process->pid);
	self->terminal = process->is_terminal;
	self->started_ns = process->started_ns;
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

int container_list_execs(struct container *self, struct error *err)
{
	size_t count = 0;

	forget_list(self->record);
	for (const struct process *process = self->processes; process != NULL; process = process->next)
		count += process != self->init && process->pid > 0 && !process->has_ended;
	if (count == 0)
		return 0;
	self->record->execs = calloc(count, sizeof(*self->record->execs));
	if (self->record->execs == NULL)
		return fail_errno(err, ENOMEM, "list the execs of '%s'", self->dir.id);
	for (const struct process *process = self->processes; process != NULL; process = process->next) {
		Hydra__V1__ExecRecord *item;

		if (process == self->init || process->pid <= 0 || process->has_ended)
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
	process->has_started = true;
	if (process_is_there(item->pid, item->start_time) && process_follow(process, item->pid, &err) < 0)
		log_error("exec not adopted", "container=%s exec=%s error=\"%s\"", self->dir.id, item->id, err.message);
	process->pid = item->pid;
}

void container_adopt_execs(struct container *self)
{
	for (size_t i = 0; i < self->record->n_execs; i++)
		adopt(self, self->record->execs[i]);
}

void container_end_unseen_execs(struct container *self)
{
	for (struct process *process = self->processes; process != NULL; process = process->next) {
		if (process != self->init && process->pidfd < 0 && !process->has_ended)
			process_ended_unseen(process, process->pid);
	}
}
