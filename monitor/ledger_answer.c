/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra.v1.Monitor.Ledger: the ledger as a message, with what is known of the containers at this moment.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"
#include "state/record.h"
#include "state/stdio_page.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define STATE(name) HYDRA__V1__LEDGER_STATE__LEDGER_##name

/* What an answer is made of. */
struct answer {
	const struct monitor *monitor;
	const Hydra__V1__LedgerRequest *request;
	uint64_t now_ns;    /* CLOCK_BOOTTIME */
	uint64_t offset_ns; /* of CLOCK_REALTIME */
	Hydra__V1__LedgerSubject *subjects;
	Hydra__V1__LedgerContainer *containers;
	Hydra__V1__LedgerInterval *intervals;
	Hydra__V1__LedgerSubject **subject_pointers;
	Hydra__V1__LedgerInterval **interval_pointers;
	size_t subject_count, interval_count;
};

static bool is_gone(const struct ledger_subject *subject, void *context)
{
	const struct monitor *self = context;
	auto_free char *path = text_format("%s/%s", self->root, subject->name);

	return !path_exists(AT_FDCWD, path);
}

void account_forget(struct monitor *self)
{
	ledger_forget(&self->ledger, is_gone, self);
}

bool account_look(const struct monitor *self, const struct ledger_subject *subject, Hydra__V1__LedgerContainer *ret_container)
{
	auto_free char *path = text_format("%s/%s", self->root, subject->name);
	auto_close int fd = ledger_is_shim(subject) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	auto_record *container = NULL;
	struct stdio_counts counts;
	struct error ignored;

	hydra__v1__ledger_container__init(ret_container);
	if (fd < 0 || record_load(fd, &container, &ignored) < 0)
		return false;
	ret_container->state = (char *) (uintptr_t) state_name(container->state);
	ret_container->restarts = container->restart_count;
	ret_container->started_ns = container->started_ns;
	ret_container->output_is_known = stdio_page_count(fd, &counts);
	if (!ret_container->output_is_known)
		return true;
	ret_container->output_read_bytes = counts.read;
	ret_container->output_written_bytes = counts.written;
	ret_container->output_dropped_bytes = counts.dropped;
	ret_container->output_spilled_bytes = counts.read - counts.written - counts.dropped;
	return true;
}

/* The state says what was known before its shim was lost from sight. */
static void look_into(const struct monitor *self, const struct ledger_subject *subject, Hydra__V1__LedgerSubject *item,
		      Hydra__V1__LedgerContainer *container)
{
	if (account_look(self, subject, container))
		item->container = container;
	if (item->container != NULL && item->state != STATE(UP) && item->state != STATE(ENDED))
		container->state = (char *) (uintptr_t) state_name(HYDRA__V1__CONTAINER_STATE__STATE_UNKNOWN);
}

static bool is_asked_for(const struct answer *self, const char *name)
{
	return self->request->name[0] == '\0' || strcmp(self->request->name, name) == 0;
}

static void add_interval(struct answer *self, const Hydra__V1__LedgerInterval *facts)
{
	Hydra__V1__LedgerInterval *item = &self->intervals[self->interval_count];

	*item = *facts;
	item->from_ns += self->offset_ns;
	if (item->to_ns != 0)
		item->to_ns += self->offset_ns;
	if (item->to_ns == 0 || item->to_ns > self->request->since_ns)
		self->interval_pointers[self->interval_count++] = item;
}

static void add_ended_intervals(struct answer *self)
{
	const struct ledger *ledger = &self->monitor->ledger;

	for (uint64_t number = ledger_first_interval(ledger); number < ledger->interval_count; number++) {
		const struct ledger_interval *interval = ledger_interval_at(ledger, number);

		if (is_asked_for(self, interval->name))
			add_interval(self, &interval->facts);
	}
}

static void add_subject(struct answer *self, const struct ledger_subject *subject)
{
	Hydra__V1__LedgerSubject *item = &self->subjects[self->subject_count];
	Hydra__V1__LedgerInterval interval = HYDRA__V1__LEDGER_INTERVAL__INIT;

	ledger_view(subject, self->now_ns, self->offset_ns, item);
	look_into(self->monitor, subject, item, &self->containers[self->subject_count]);
	self->subject_pointers[self->subject_count++] = item;
	if (!self->request->intervals)
		return;
	interval.name = item->name;
	interval.state = item->state;
	interval.from_ns = subject->facts.since_ns;
	interval.pid = item->pid;
	interval.why = item->why;
	add_interval(self, &interval);
}

static size_t list_migrations(const struct answer *self, Hydra__V1__LedgerMigration **ret_list)
{
	const struct migration_book *book = &self->monitor->ledger.migrations;
	size_t count = 0;

	for (uint64_t number = migration_book_first(book); number < book->count; number++) {
		const struct booked_migration *item = migration_book_at(book, number);

		if (is_asked_for(self, item->name) && item->facts.ended_ns > self->request->since_ns)
			ret_list[count++] = (Hydra__V1__LedgerMigration *) (uintptr_t) &item->facts;
	}
	return count;
}

static bool answer_init(struct answer *self)
{
	size_t count = self->monitor->ledger.subject_count + 1;

	self->now_ns = clock_boottime_ns();
	self->offset_ns = clock_realtime_ns() - self->now_ns;
	self->subjects = calloc(count, sizeof(*self->subjects));
	self->containers = calloc(count, sizeof(*self->containers));
	self->subject_pointers = calloc(count, sizeof(*self->subject_pointers));
	self->intervals = calloc(count + LEDGER_INTERVALS_MAX, sizeof(*self->intervals));
	self->interval_pointers = calloc(count + LEDGER_INTERVALS_MAX, sizeof(*self->interval_pointers));
	return self->subjects != NULL && self->containers != NULL && self->subject_pointers != NULL && self->intervals != NULL &&
	       self->interval_pointers != NULL;
}

static void answer_deinit(struct answer *self)
{
	free(self->subjects);
	free(self->containers);
	free(self->subject_pointers);
	free(self->intervals);
	free(self->interval_pointers);
}

void account_answer(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct monitor *monitor = call->server->context;
	struct answer answer = {.monitor = monitor, .request = (const void *) message};
	Hydra__V1__LedgerResponse response = HYDRA__V1__LEDGER_RESPONSE__INIT;
	Hydra__V1__LedgerMigration *migrations[MIGRATIONS_KEPT];

	account_forget(monitor);
	account_migrations(monitor);
	if (!answer_init(&answer)) {
		answer_deinit(&answer);
		ttrpc_refuse(call, TTRPC_RESOURCE_EXHAUSTED, "ledger: no memory");
		return;
	}
	if (answer.request->intervals)
		add_ended_intervals(&answer);
	for (struct ledger_subject *subject = monitor->ledger.subjects; subject != NULL; subject = subject->next) {
		if (is_asked_for(&answer, subject->name))
			add_subject(&answer, subject);
	}
	response.now_ns = answer.now_ns + answer.offset_ns;
	response.subjects = answer.subject_pointers;
	response.n_subjects = answer.subject_count;
	response.intervals = answer.interval_pointers;
	response.n_intervals = answer.interval_count;
	response.n_migrations = list_migrations(&answer, migrations);
	response.migrations = migrations;
	ttrpc_reply(call, &response.base);
	answer_deinit(&answer);
}
