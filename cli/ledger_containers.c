/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's lines about containers themselves, beside those about their shims: from their journals, which say when they
 * began and ended, and as far back as these go.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"
#include "state/journal.h"
#include "state/record.h"
#include "state/run_dir.h"

#include <stdlib.h>
#include <string.h>

#define STATE(name) HYDRA__V1__LEDGER_STATE__LEDGER_##name

static const struct {
	const char *event;
	Hydra__V1__LedgerState state;
} meanings[] = {
	{"started", STATE(UP)}, {"restored", STATE(UP)}, {"migrated-in", STATE(UP)}, {"exited", STATE(DOWN)}, {"migrated", STATE(ENDED)},
};

struct account {
	Hydra__V1__LedgerResponse *response;
	Hydra__V1__LedgerSubject *subject;
	bool wants_intervals;
	bool is_restarted; /* by a policy: between two runs it is down; otherwise it has ended */
};

static Hydra__V1__LedgerSubject *add_subject(Hydra__V1__LedgerResponse *response, const char *name)
{
	Hydra__V1__LedgerSubject **larger = realloc(response->subjects, (response->n_subjects + 1) * sizeof(*larger));
	Hydra__V1__LedgerSubject *subject = malloc(sizeof(*subject));

	if (larger == NULL || subject == NULL)
		abort();
	hydra__v1__ledger_subject__init(subject);
	subject->name = text_format("container %s", name);
	subject->state = STATE(ENDED);
	response->subjects = larger;
	response->subjects[response->n_subjects++] = subject;
	return subject;
}

static void add_interval(struct account *self, uint64_t to_ns)
{
	Hydra__V1__LedgerResponse *response = self->response;
	const Hydra__V1__LedgerSubject *subject = self->subject;
	Hydra__V1__LedgerInterval **larger = realloc(response->intervals, (response->n_intervals + 1) * sizeof(*larger));
	Hydra__V1__LedgerInterval *interval = malloc(sizeof(*interval));

	if (larger == NULL || interval == NULL)
		abort();
	hydra__v1__ledger_interval__init(interval);
	interval->name = text_copy(subject->name);
	interval->state = subject->state;
	interval->from_ns = subject->since_ns;
	interval->to_ns = to_ns;
	interval->pid = subject->pid;
	interval->why = text_copy(subject->why);
	response->intervals = larger;
	response->intervals[response->n_intervals++] = interval;
}

static void count_time(Hydra__V1__LedgerSubject *subject, uint64_t until_ns)
{
	uint64_t duration_ns = until_ns > subject->since_ns ? until_ns - subject->since_ns : 0;

	subject->up_ns += subject->state == STATE(UP) ? duration_ns : 0;
	subject->down_ns += subject->state == STATE(DOWN) ? duration_ns : 0;
	subject->unknown_ns += subject->state == STATE(UNKNOWN) ? duration_ns : 0;
}

static void move(struct account *self, Hydra__V1__LedgerState state, uint64_t time_ns, int pid, const char *why)
{
	Hydra__V1__LedgerSubject *subject = self->subject;

	count_time(subject, time_ns);
	if (subject->first_ns == 0)
		subject->first_ns = time_ns;
	else if (self->wants_intervals && subject->state != STATE(ENDED))
		add_interval(self, time_ns);
	if (state == STATE(UP) && subject->state == STATE(DOWN)) {
		subject->restarts++;
		subject->repairs++;
		subject->repair_ns += time_ns - subject->since_ns;
		subject->mean_repair_ns = subject->repair_ns / subject->repairs;
	}
	subject->state = state;
	subject->since_ns = time_ns;
	subject->pid = pid;
	(void) message_set_string(&subject->why, why);
}

static void describe_end(const event *entry, char *buffer, size_t size)
{
	if (entry->exit == NULL || !entry->exit->is_known)
		(void) text_fit(buffer, size, "ended, status unknown");
	else if (entry->exit->signal != 0)
		(void) text_fit(buffer, size, "signal %u%s", entry->exit->signal, entry->exit->oom_killed ? ", OOM" : "");
	else
		(void) text_fit(buffer, size, "status %u", entry->exit->exit_code);
}

static bool take_event(const event *entry, void *context)
{
	struct account *self = context;
	char why[64] = "";

	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		Hydra__V1__LedgerState state = meanings[i].state;

		if (strcmp(meanings[i].event, entry->type) != 0)
			continue;
		if (state == STATE(DOWN)) {
			describe_end(entry, why, sizeof(why));
			state = self->is_restarted ? STATE(DOWN) : STATE(ENDED);
		}
		move(self, state, entry->time_ns, entry->pid, why);
	}
	return true;
}

static void read_journal(struct account *self, const struct run_dir *dir, const Hydra__V1__LedgerSubject *shim)
{
	auto_record *container = NULL;
	struct error ignored;

	if (record_load(dir->fd, &container, &ignored) < 0)
		return;
	self->is_restarted = container->restart != NULL && container->restart->mode != HYDRA__V1__RESTART_MODE__RESTART_NO;
	(void) journal_replay(dir->fd, 0, take_event, self, &ignored);
	/* the last end was not one before another beginning */
	if (self->subject->state == STATE(DOWN) && container->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED && !container->restart_is_pending)
		self->subject->state = STATE(ENDED);
	/* nobody says that it still runs */
	if (self->subject->state != STATE(ENDED) && shim->state != STATE(UP) && shim->since_ns > self->subject->since_ns)
		move(self, STATE(UNKNOWN), shim->since_ns, self->subject->pid, "its shim does not answer");
}

static void add_container(struct account *self, const char *root, const Hydra__V1__LedgerSubject *shim)
{
	const char *slash = strchr(shim->name, '/');
	auto_free char *namespace = strndup(shim->name, (size_t) (slash - shim->name));
	struct run_dir dir;
	struct error ignored;

	if (namespace == NULL || run_dir_open(&dir, root, namespace, slash + 1, &ignored) < 0)
		return;
	self->subject = add_subject(self->response, shim->name);
	read_journal(self, &dir, shim);
	count_time(self->subject, self->response->now_ns);
	if (self->wants_intervals)
		add_interval(self, 0);
	run_dir_close(&dir);
}

void ledger_add_containers(const struct cli *cli, Hydra__V1__LedgerResponse *response, bool wants_intervals)
{
	size_t count = response->n_subjects;

	for (size_t i = 0; i < count; i++) {
		struct account self = {.response = response, .wants_intervals = wants_intervals};

		if (strchr(response->subjects[i]->name, '/') != NULL)
			add_container(&self, cli->root, response->subjects[i]);
	}
}
