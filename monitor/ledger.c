/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/ledger.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define STATE(name) HYDRA__V1__LEDGER_STATE__LEDGER_##name

bool ledger_init(struct ledger *self)
{
	*self = (struct ledger){.intervals = calloc(LEDGER_INTERVALS_MAX, sizeof(*self->intervals))};
	hydra__v1__ledger_subject__init(&self->shims);
	return self->intervals != NULL;
}

void ledger_deinit(struct ledger *self)
{
	while (self->subjects != NULL) {
		struct ledger_subject *subject = self->subjects;

		self->subjects = subject->next;
		free(subject);
	}
	free(self->intervals);
	migration_book_deinit(&self->migrations);
	*self = (struct ledger){.intervals = NULL};
}

bool ledger_is_shim(const struct ledger_subject *subject)
{
	return strchr(subject->name, '/') != NULL;
}

struct ledger_subject *ledger_find(const struct ledger *self, const char *name)
{
	struct ledger_subject *subject = self->subjects;

	while (subject != NULL && strcmp(subject->name, name) != 0)
		subject = subject->next;
	return subject;
}

static void remove_subject(struct ledger *self, struct ledger_subject **link)
{
	struct ledger_subject *subject = *link;

	*link = subject->next;
	self->subject_count--;
	free(subject);
}

/* The one that ended first makes room. */
static bool make_room(struct ledger *self)
{
	struct ledger_subject **oldest = NULL;

	if (self->subject_count < LEDGER_SUBJECTS_MAX)
		return true;
	for (struct ledger_subject **link = &self->subjects; *link != NULL; link = &(*link)->next) {
		if ((*link)->facts.state == STATE(ENDED) && (oldest == NULL || (*link)->facts.since_ns < (*oldest)->facts.since_ns))
			oldest = link;
	}
	if (oldest != NULL)
		remove_subject(self, oldest);
	return oldest != NULL;
}

static struct ledger_subject *add(struct ledger *self, const char *name, uint64_t time_ns)
{
	struct ledger_subject **link = &self->subjects;
	struct ledger_subject *subject = make_room(self) ? calloc(1, sizeof(*subject)) : NULL;

	if (subject == NULL || !text_fit(subject->name, sizeof(subject->name), "%s", name)) {
		free(subject);
		return NULL;
	}
	hydra__v1__ledger_subject__init(&subject->facts);
	subject->facts.name = subject->name;
	subject->facts.why = subject->why;
	subject->facts.state = STATE(ENDED);
	subject->facts.since_ns = subject->facts.first_ns = time_ns;
	while (*link != NULL)
		link = &(*link)->next;
	*link = subject;
	self->subject_count++;
	return subject;
}

/* NULL: time in this state is not counted. */
static uint64_t *time_in(Hydra__V1__LedgerSubject *facts, ledger_state state)
{
	switch (state) {
	case STATE(UP):
		return &facts->up_ns;
	case STATE(DOWN):
		return &facts->down_ns;
	case STATE(UNREACHABLE):
		return &facts->unreachable_ns;
	case STATE(UNKNOWN):
		return &facts->unknown_ns;
	default:
		return NULL;
	}
}

/* Modulo 2^64: time may be taken off again. */
static void count_time(Hydra__V1__LedgerSubject *facts, ledger_state state, uint64_t duration_ns)
{
	uint64_t *sum = time_in(facts, state);

	if (sum != NULL)
		*sum += duration_ns;
}

uint64_t ledger_first_interval(const struct ledger *self)
{
	return self->interval_count > LEDGER_INTERVALS_MAX ? self->interval_count - LEDGER_INTERVALS_MAX : 0;
}

struct ledger_interval *ledger_interval_at(const struct ledger *self, uint64_t number)
{
	return &self->intervals[number % LEDGER_INTERVALS_MAX];
}

void ledger_restore_interval(struct ledger *self, const Hydra__V1__LedgerInterval *facts)
{
	struct ledger_interval *interval = ledger_interval_at(self, self->interval_count++);

	interval->facts = *facts;
	(void) text_fit(interval->name, sizeof(interval->name), "%s", facts->name);
	(void) text_fit(interval->why, sizeof(interval->why), "%s", facts->why);
	interval->facts.base.n_unknown_fields = 0;
	interval->facts.base.unknown_fields = NULL;
	interval->facts.name = interval->name;
	interval->facts.why = interval->why;
}

static void end_interval(struct ledger *self, struct ledger_subject *subject, uint64_t now_ns)
{
	Hydra__V1__LedgerSubject *facts = &subject->facts;
	Hydra__V1__LedgerInterval interval = HYDRA__V1__LEDGER_INTERVAL__INIT;

	if (facts->state == STATE(ENDED))
		return;
	count_time(facts, facts->state, now_ns - facts->since_ns);
	interval.name = facts->name;
	interval.state = facts->state;
	interval.from_ns = facts->since_ns;
	interval.to_ns = now_ns;
	interval.pid = facts->pid;
	interval.why = facts->why;
	ledger_restore_interval(self, &interval);
}

static void count_repair(struct ledger *self, struct ledger_subject *subject, uint64_t duration_ns, uint32_t times)
{
	subject->facts.repairs += times;
	subject->facts.repair_ns += duration_ns;
	if (ledger_is_shim(subject)) {
		self->shims.repairs += times;
		self->shims.repair_ns += duration_ns;
	}
}

static void count_transition(struct ledger *self, struct ledger_subject *subject, const struct ledger_change *change)
{
	Hydra__V1__LedgerSubject *facts = &subject->facts;
	bool is_broken = change->state == STATE(DOWN) || change->state == STATE(UNREACHABLE);

	if (change->state == STATE(UP) && facts->state != STATE(ENDED) && change->pid != 0 && facts->pid != 0 && change->pid != facts->pid) {
		facts->restarts++;
		self->shims.restarts += ledger_is_shim(subject);
	}
	if (is_broken && facts->broken_since_ns == 0)
		facts->broken_since_ns = change->time_ns;
	if (change->state == STATE(UP) && facts->broken_since_ns != 0)
		count_repair(self, subject, change->time_ns - facts->broken_since_ns, 1);
	if (!is_broken && change->state != STATE(UNKNOWN))
		facts->broken_since_ns = 0;
}

bool ledger_apply(struct ledger *self, const struct ledger_change *change)
{
	struct ledger_subject *subject = ledger_find(self, change->name);
	struct ledger_change clean = *change;
	bool is_same_process;

	if (subject == NULL)
		subject = add(self, change->name, change->time_ns);
	if (subject == NULL)
		return false;
	is_same_process = change->pid == 0 || change->pid == subject->facts.pid;
	if (subject->facts.state == change->state && (is_same_process || change->state != STATE(UP)))
		return false;
	if (clean.time_ns < subject->facts.since_ns)
		clean.time_ns = subject->facts.since_ns;
	end_interval(self, subject, clean.time_ns);
	count_transition(self, subject, &clean);
	subject->facts.state = clean.state;
	subject->facts.since_ns = clean.time_ns;
	if (clean.pid != 0)
		subject->facts.pid = clean.pid;
	(void) text_fit(subject->why, sizeof(subject->why), "%s", clean.why);
	if (clean.time_ns > self->last_ns)
		self->last_ns = clean.time_ns;
	return true;
}

/* The interval of this name that ended when another one began; NULL: it is not known any more. */
static struct ledger_interval *interval_before(const struct ledger *self, const char *name, uint64_t time_ns)
{
	for (uint64_t number = self->interval_count; number > ledger_first_interval(self); number--) {
		struct ledger_interval *interval = ledger_interval_at(self, number - 1);

		if (interval->facts.to_ns == time_ns && strcmp(interval->name, name) == 0)
			return interval;
	}
	return NULL;
}

/* Up until time_ns, and what interval says only from then on. */
static void move_start(struct ledger *self, struct ledger_interval *interval, uint64_t time_ns)
{
	struct ledger_subject *subject = ledger_find(self, interval->name);
	struct ledger_interval *before = interval_before(self, interval->name, interval->facts.from_ns);

	if (subject == NULL || before == NULL || before->facts.state != STATE(UP) || time_ns < before->facts.from_ns)
		return;
	count_time(&subject->facts, STATE(UP), time_ns - interval->facts.from_ns);
	count_time(&subject->facts, interval->facts.state, interval->facts.from_ns - time_ns);
	before->facts.to_ns = interval->facts.from_ns = time_ns;
}

/* The monitor's last absence; NULL: it is not known any more, or there was none. */
static struct ledger_interval *last_absence(const struct ledger *self)
{
	const struct ledger_subject *monitor = ledger_find(self, "monitor");
	struct ledger_interval *absence = monitor != NULL ? interval_before(self, "monitor", monitor->facts.since_ns) : NULL;

	return absence != NULL && strcmp(absence->why, LEDGER_UNSEEN) == 0 ? absence : NULL;
}

static void now_known_to_be_down(struct ledger *self, struct ledger_interval *absence)
{
	struct ledger_subject *monitor = ledger_find(self, "monitor");
	uint64_t duration_ns = absence->facts.to_ns - absence->facts.from_ns;

	count_time(&monitor->facts, STATE(UNKNOWN), -duration_ns);
	count_time(&monitor->facts, STATE(DOWN), duration_ns);
	absence->facts.state = STATE(DOWN);
}

bool ledger_lost(struct ledger *self, uint64_t time_ns)
{
	struct ledger_interval *absence = last_absence(self);
	uint64_t from_ns = absence != NULL ? absence->facts.from_ns : 0;
	bool was_unknown = absence != NULL && absence->facts.state == STATE(UNKNOWN);

	/* of several who tell, the first one that saw it is right: another may have been stopped for a while */
	if (absence == NULL || time_ns > absence->facts.to_ns || (was_unknown ? time_ns < from_ns : time_ns >= from_ns))
		return false;
	for (uint64_t number = ledger_first_interval(self); number < self->interval_count; number++) {
		struct ledger_interval *interval = ledger_interval_at(self, number);

		if (interval->facts.from_ns == from_ns && strcmp(interval->why, LEDGER_UNSEEN) == 0)
			move_start(self, interval, time_ns);
	}
	if (absence->facts.from_ns != time_ns)
		return false;
	if (was_unknown)
		now_known_to_be_down(self, absence);
	count_repair(self, ledger_find(self, "monitor"), was_unknown ? absence->facts.to_ns - time_ns : from_ns - time_ns, was_unknown);
	return true;
}

void ledger_forget(struct ledger *self, bool (*is_gone)(const struct ledger_subject *subject, void *context), void *context)
{
	struct ledger_subject **link = &self->subjects;

	while (*link != NULL) {
		if ((*link)->facts.state == STATE(ENDED) && is_gone(*link, context))
			remove_subject(self, link);
		else
			link = &(*link)->next;
	}
}

bool ledger_restore_subject(struct ledger *self, const Hydra__V1__LedgerSubject *facts)
{
	struct ledger_subject *subject = ledger_find(self, facts->name);

	if (subject == NULL)
		subject = add(self, facts->name, facts->first_ns);
	if (subject == NULL)
		return false;
	subject->facts = *facts;
	(void) text_fit(subject->why, sizeof(subject->why), "%s", facts->why);
	subject->facts.base.n_unknown_fields = 0;
	subject->facts.base.unknown_fields = NULL;
	subject->facts.name = subject->name;
	subject->facts.why = subject->why;
	subject->facts.container = NULL;
	if (facts->since_ns > self->last_ns)
		self->last_ns = facts->since_ns;
	return true;
}

void ledger_view(const struct ledger_subject *subject, uint64_t now_ns, uint64_t offset_ns, Hydra__V1__LedgerSubject *ret_facts)
{
	*ret_facts = subject->facts;
	if (now_ns > subject->facts.since_ns)
		count_time(ret_facts, ret_facts->state, now_ns - subject->facts.since_ns);
	ret_facts->since_ns += offset_ns;
	ret_facts->first_ns += offset_ns;
	if (ret_facts->broken_since_ns != 0)
		ret_facts->broken_since_ns += offset_ns;
	ret_facts->mean_repair_ns = ret_facts->repairs > 0 ? ret_facts->repair_ns / ret_facts->repairs : 0;
}
