/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus text (version 0.0.4), to whoever connects and asks. Families are named after Prometheus' rules: units in the name,
 * counters end with _total. How many series there are is bounded: SUBJECTS_MAX programs with a few each.
 */
#include "base/clock.h"
#include "base/descriptor_limit.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECTS_MAX 1000
#define STATE(name)  HYDRA__V1__LEDGER_STATE__LEDGER_##name

/* A program as it is at this moment. */
struct seen {
	Hydra__V1__LedgerSubject facts;
	Hydra__V1__LedgerContainer container;
	char labels[2 * LEDGER_NAME_SIZE]; /* program="shim",namespace="default",container="web" */
};

void metrics_begin_family(struct text *text, const char *name, const char *type, const char *help)
{
	text_addf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_number(struct text *text, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_begin_family(text, name, type, help);
	text_addf(text, "%s %" PRIu64 "\n", name, value);
}

static void add_time(struct text *text, const char *name, const char *type, const char *help, uint64_t value_ns)
{
	metrics_begin_family(text, name, type, help);
	text_addf(text, "%s %.9f\n", name, (double) value_ns / NS_PER_S);
}

static void add_monitor(struct text *text, const struct monitor *monitor)
{
	metrics_begin_family(text, "hydra_build_info", "gauge", "The version of hydra-monitor.");
	text_add(text, "hydra_build_info{version=\"" HYDRA_VERSION "\"} 1\n");
	add_time(text, "hydra_monitor_start_time_seconds", "gauge", "When hydra-monitor began, since the epoch.", monitor->started_ns);
	add_number(text, "hydra_monitor_descriptors", "gauge", "Descriptors that hydra-monitor has open.", descriptor_count());
	add_number(text, "hydra_monitor_descriptors_limit", "gauge", "How many it may have open (RLIMIT_NOFILE).",
		   monitor->limits.descriptors_max);
	add_number(text, "hydra_monitor_deposits", "gauge", "Descriptors of shims that it keeps for their successors.",
		   store_count(monitor));
	add_number(text, "hydra_monitor_deposits_refused_total", "counter", "Deposits refused for want of room since it began.",
		   monitor->limits.refused);
}

static void add_sums(struct text *text, const struct monitor *monitor)
{
	const Hydra__V1__LedgerSubject *shims = &monitor->ledger.shims;

	add_number(text, "hydra_shims", "gauge", "Shims that run as children of this monitor.", shims_count(monitor));
	add_number(text, "hydra_shims_restarts_total", "counter", "Successors of shims that died, over all containers there ever were.",
		   shims->restarts);
	add_number(text, "hydra_shims_repairs_total", "counter", "Times a shim came back from down or unreachable.", shims->repairs);
	add_time(text, "hydra_shims_repair_seconds_total", "counter", "How long these were down or unreachable together.",
		 shims->repair_ns);
	add_number(text, "hydra_daemon_up", "gauge", "Whether hydrad runs.", monitor->daemon_pid > 0 || monitor->daemon_source.fd >= 0);
	add_number(text, "hydra_daemon_restarts_total", "counter", "Restarts of hydrad after it died, since this monitor began.",
		   monitor->daemon_restarts);
}

/* Names are of letters, digits and _.+- (id_check()): nothing needs to be escaped. */
static void write_labels(struct seen *self)
{
	const char *name = self->facts.name;
	const char *slash = strchr(name, '/');

	if (slash == NULL)
		(void) text_fit(self->labels, sizeof(self->labels), "program=\"%s\",namespace=\"\",container=\"\"", name);
	else
		(void) text_fit(self->labels, sizeof(self->labels), "program=\"shim\",namespace=\"%.*s\",container=\"%s\"",
				(int) (slash - name), name, slash + 1);
}

/* What has ended is neither up nor down: it has no series. */
static size_t look_at_all(const struct monitor *monitor, struct seen *list, size_t *ret_omitted)
{
	uint64_t now_ns = clock_boottime_ns();
	size_t count = 0;

	*ret_omitted = 0;
	for (struct ledger_subject *subject = monitor->ledger.subjects; subject != NULL; subject = subject->next) {
		struct seen *item = &list[count];

		if (subject->facts.state == STATE(ENDED))
			continue;
		if (count == SUBJECTS_MAX) {
			++*ret_omitted;
			continue;
		}
		ledger_view(subject, now_ns, 0, &item->facts);
		item->facts.container = account_look(monitor, subject, &item->container) ? &item->container : NULL;
		write_labels(item);
		count++;
	}
	return count;
}

static const struct {
	const char *name;
	ledger_state state;
	size_t offset; /* of the time spent in it */
} states[] = {
	{"up", STATE(UP), offsetof(Hydra__V1__LedgerSubject, up_ns)},
	{"down", STATE(DOWN), offsetof(Hydra__V1__LedgerSubject, down_ns)},
	{"unreachable", STATE(UNREACHABLE), offsetof(Hydra__V1__LedgerSubject, unreachable_ns)},
	{"unknown", STATE(UNKNOWN), offsetof(Hydra__V1__LedgerSubject, unknown_ns)},
};

#define STATE_COUNT (sizeof(states) / sizeof(states[0]))

static void add_states(struct text *text, const struct seen *list, size_t count)
{
	metrics_begin_family(text, "hydra_program_state", "gauge", "1 for the state that a program is in, 0 for the others.");
	for (size_t i = 0; i < count * STATE_COUNT; i++) {
		const struct seen *item = &list[i / STATE_COUNT];

		text_addf(text, "hydra_program_state{%s,state=\"%s\"} %d\n", item->labels, states[i % STATE_COUNT].name,
			  item->facts.state == states[i % STATE_COUNT].state);
	}
	metrics_begin_family(text, "hydra_program_state_seconds_total", "counter", "How long a program has been in a state.");
	for (size_t i = 0; i < count * STATE_COUNT; i++) {
		const struct seen *item = &list[i / STATE_COUNT];
		uint64_t spent_ns;

		memcpy(&spent_ns, (const char *) &item->facts + states[i % STATE_COUNT].offset, sizeof(spent_ns));
		text_addf(text, "hydra_program_state_seconds_total{%s,state=\"%s\"} %.9f\n", item->labels, states[i % STATE_COUNT].name,
			  (double) spent_ns / NS_PER_S);
	}
}

static void add_repairs(struct text *text, const struct seen *list, size_t count)
{
	metrics_begin_family(text, "hydra_program_restarts_total", "counter", "Times a program was started in place of one that died.");
	for (size_t i = 0; i < count; i++)
		text_addf(text, "hydra_program_restarts_total{%s} %u\n", list[i].labels, list[i].facts.restarts);
	metrics_begin_family(text, "hydra_program_repairs_total", "counter", "Times a program came back from down or unreachable.");
	for (size_t i = 0; i < count; i++)
		text_addf(text, "hydra_program_repairs_total{%s} %u\n", list[i].labels, list[i].facts.repairs);
	metrics_begin_family(text, "hydra_program_repair_seconds_total", "counter",
		     "How long these took together; by the number of repairs it is the mean time to repair.");
	for (size_t i = 0; i < count; i++)
		text_addf(text, "hydra_program_repair_seconds_total{%s} %.9f\n", list[i].labels, (double) list[i].facts.repair_ns / NS_PER_S);
}

static const struct {
	const char *name, *type, *help;
	size_t offset;
} outputs[] = {
	{"hydra_container_output_read_bytes_total", "counter", "Output of a container that was read.",
	 offsetof(Hydra__V1__LedgerContainer, output_read_bytes)},
	{"hydra_container_output_written_bytes_total", "counter", "Of this, what is in its log.",
	 offsetof(Hydra__V1__LedgerContainer, output_written_bytes)},
	{"hydra_container_output_dropped_bytes_total", "counter", "Of this, what was dropped because the log could not be written.",
	 offsetof(Hydra__V1__LedgerContainer, output_dropped_bytes)},
	{"hydra_container_output_spilled_bytes", "gauge", "Of this, what waits for the log.",
	 offsetof(Hydra__V1__LedgerContainer, output_spilled_bytes)},
};

/* What is unknown has no sample. */
static void add_output(struct text *text, const struct seen *list, size_t count)
{
	for (size_t family = 0; family < sizeof(outputs) / sizeof(outputs[0]); family++) {
		metrics_begin_family(text, outputs[family].name, outputs[family].type, outputs[family].help);
		for (size_t i = 0; i < count; i++) {
			uint64_t bytes;

			if (list[i].facts.container == NULL || !list[i].container.output_is_known)
				continue;
			memcpy(&bytes, (const char *) &list[i].container + outputs[family].offset, sizeof(bytes));
			text_addf(text, "%s{%s} %" PRIu64 "\n", outputs[family].name, strchr(list[i].labels, ',') + 1, bytes);
		}
	}
}

/* Whether it does is known only as long as its shim answers. */
static void add_running(struct text *text, const struct seen *list, size_t count)
{
	metrics_begin_family(text, "hydra_container_running", "gauge", "Whether a container runs; no sample when nobody knows.");
	for (size_t i = 0; i < count; i++) {
		if (list[i].facts.container != NULL && list[i].facts.state == STATE(UP))
			text_addf(text, "hydra_container_running{%s} %d\n", strchr(list[i].labels, ',') + 1,
				  strcmp(list[i].container.state, "running") == 0);
	}
}

static void add_container_restarts(struct text *text, const struct seen *list, size_t count)
{
	metrics_begin_family(text, "hydra_container_restarts_total", "counter", "Restarts of a container by its restart policy.");
	for (size_t i = 0; i < count; i++) {
		if (list[i].facts.container != NULL)
			text_addf(text, "hydra_container_restarts_total{%s} %u\n", strchr(list[i].labels, ',') + 1,
				  list[i].container.restarts);
	}
}

char *metrics_render(struct monitor *monitor)
{
	auto_text text = TEXT_EMPTY;
	auto_free struct seen *list = calloc(SUBJECTS_MAX + 1, sizeof(*list));
	size_t omitted, count;

	if (list == NULL)
		return NULL;
	account_forget(monitor);
	count = look_at_all(monitor, list, &omitted);
	add_monitor(&text, monitor);
	add_sums(&text, monitor);
	add_number(&text, "hydra_programs_omitted", "gauge", "Programs beyond the first 1000, which have no series of their own.", omitted);
	add_states(&text, list, count);
	add_repairs(&text, list, count);
	add_running(&text, list, count);
	add_container_restarts(&text, list, count);
	add_output(&text, list, count);
	account_migrations(monitor);
	metrics_add_migrations(&text, monitor);
	return text_take(&text);
}
