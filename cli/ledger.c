/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl ledger: who was up and down, as hydra-monitor saw it.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEDGER_TIMEOUT_MS 5000

struct ledger_options {
	bool intervals, migrations;
};

static const struct option_entry ledger_entries[] = {
	{'i', "intervals", NULL, OPTION_FLAG, offsetof(struct ledger_options, intervals), "from when to when, the last 1024 of them"},
	{'m', "migrations", NULL, OPTION_FLAG, offsetof(struct ledger_options, migrations), "what migrations cost, the last 256 of them"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

const char *ledger_state_name(Hydra__V1__LedgerState state)
{
	static const char *const names[] = {"unknown", "up", "down", "unreachable", "ended"};

	return (unsigned) state < sizeof(names) / sizeof(names[0]) ? names[state] : names[0];
}

/* "-" for zero: what never happened is not in the way of what did. */
static void describe_time(uint64_t duration_ns, char *buffer, size_t size)
{
	if (duration_ns == 0)
		(void) text_fit(buffer, size, "-");
	else
		format_duration(duration_ns, buffer, size);
}

static void describe_output(const Hydra__V1__LedgerContainer *container, uint64_t bytes, char *buffer, size_t size)
{
	if (container == NULL || !container->output_is_known)
		(void) text_fit(buffer, size, "-");
	else
		format_size(bytes, buffer, size);
}

static void add_subject(struct table *table, const Hydra__V1__LedgerSubject *subject)
{
	const uint64_t times[] = {subject->up_ns, subject->down_ns, subject->unreachable_ns, subject->unknown_ns, subject->mean_repair_ns};
	const Hydra__V1__LedgerContainer *container = subject->container;
	char since[64], durations[5][32], restarts[16], dropped[32], spilled[32];

	format_age(subject->since_ns, since, sizeof(since));
	for (size_t i = 0; i < 5; i++)
		describe_time(times[i], durations[i], sizeof(durations[i]));
	(void) text_fit(restarts, sizeof(restarts), "%u", subject->restarts);
	describe_output(container, container != NULL ? container->output_dropped_bytes : 0, dropped, sizeof(dropped));
	describe_output(container, container != NULL ? container->output_spilled_bytes : 0, spilled, sizeof(spilled));
	table_add(table, (const char *[]){subject->name, ledger_state_name(subject->state), since, durations[0], durations[1], durations[2],
					  durations[3], restarts, durations[4], dropped, spilled});
}

static void print_subjects(const Hydra__V1__LedgerResponse *response)
{
	static const char *const headers[] = {"PROGRAM", "STATE", "SINCE", "UP", "DOWN", "UNREACHABLE", "UNKNOWN", "RESTARTS", "MTTR",
					      "DROPPED", "SPILLED", NULL};
	struct table *table = table_new(headers);

	for (size_t i = 0; i < response->n_subjects; i++)
		add_subject(table, response->subjects[i]);
	table_print(table);
	table_free(table);
}

static void print_intervals(const Hydra__V1__LedgerResponse *response)
{
	static const char *const headers[] = {"FROM", "FOR", "PROGRAM", "STATE", "PID", "WHY", NULL};
	struct table *table = table_new(headers);

	for (size_t i = 0; i < response->n_intervals; i++) {
		const Hydra__V1__LedgerInterval *interval = response->intervals[i];
		uint64_t to_ns = interval->to_ns != 0 ? interval->to_ns : response->now_ns;
		char from[CLOCK_TEXT_SIZE], duration[32], pid[16];

		clock_format(interval->from_ns, from);
		format_duration(to_ns > interval->from_ns ? to_ns - interval->from_ns : 0, duration, sizeof(duration));
		(void) text_fit(pid, sizeof(pid), "%d", interval->pid);
		table_add(table, (const char *[]){from, duration, interval->name, ledger_state_name(interval->state), pid,
						  interval->why[0] != '\0' ? interval->why : "-"});
	}
	table_print(table);
	table_free(table);
}

static void print_migrations(const Hydra__V1__LedgerResponse *response)
{
	static const char *const headers[] = {"ENDED", "CONTAINER", "", "HOST", "RESULT", "DOWNTIME", "LAZY", "STALLED", "LONGEST", "BYTES",
					      "FAULTS", NULL};
	struct table *table = table_new(headers);

	for (size_t i = 0; i < response->n_migrations; i++) {
		const Hydra__V1__LedgerMigration *item = response->migrations[i];
		const uint64_t times_us[] = {item->downtime_us, item->lazy_us, item->stall_us, item->stall_max_us};
		char ended[64], durations[4][32], bytes[32], faults[24];

		format_age(item->ended_ns, ended, sizeof(ended));
		for (size_t at = 0; at < 4; at++)
			describe_time(times_us[at] * NS_PER_US, durations[at], sizeof(durations[at]));
		format_size(item->bytes, bytes, sizeof(bytes));
		(void) text_fit(faults, sizeof(faults), "%llu", (unsigned long long) item->faults);
		table_add(table, (const char *[]){ended, item->name, item->is_arrival ? "from" : "to", item->peer,
						  item->has_failed ? "failed" : "done", durations[0], durations[1], durations[2], durations[3],
						  bytes, faults});
	}
	table_print(table);
	table_free(table);
}

/* A program as it is, a container with its namespace. */
static char *full_name(const struct cli *cli, const char *name)
{
	static const char *const programs[] = {"monitor", "daemon", NULL};

	if (text_is_one_of(name, programs) || strchr(name, '/') != NULL)
		return text_copy(name);
	return text_format("%s/%s", cli->namespace, name);
}

static int ask(const struct cli *cli, const Hydra__V1__LedgerRequest *request, int timeout_ms, Hydra__V1__LedgerResponse **ret_response,
	       struct error *err)
{
	int r = cli_call_monitor(cli, "Ledger", &request->base, &hydra__v1__ledger_response__descriptor, timeout_ms, ret_response, err);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail_because(err, ECONNREFUSED, "hydra-monitor does not run at %s: nobody keeps a ledger", cli->root);
	return r;
}

int cli_ledger(const struct cli *cli, int timeout_ms, Hydra__V1__LedgerResponse **ret_response, struct error *err)
{
	Hydra__V1__LedgerRequest request = HYDRA__V1__LEDGER_REQUEST__INIT;

	return ask(cli, &request, timeout_ms, ret_response, err);
}

static int ledger(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct ledger_options *options = context;
	Hydra__V1__LedgerRequest request = HYDRA__V1__LEDGER_REQUEST__INIT;
	auto_message Hydra__V1__LedgerResponse *response = NULL;
	auto_free char *name = rest->count > 0 ? full_name(cli, rest->positional[0]) : NULL;
	auto_free char *json = NULL;
	int r;

	request.intervals = options->intervals;
	if (name != NULL)
		request.name = name;
	r = ask(cli, &request, LEDGER_TIMEOUT_MS, &response, err);
	if (r < 0)
		return r;
	if (name != NULL && response->n_subjects == 0 && response->n_migrations == 0)
		return fail_because(err, ENOENT, "the ledger knows no '%s'", name);
	ledger_add_containers(cli, response, options->intervals);
	if (cli_wants_json(cli)) {
		json = json_of_message(&response->base, true);
		(void) puts(json);
	} else if (options->migrations) {
		print_migrations(response);
	} else if (options->intervals) {
		print_intervals(response);
	} else {
		print_subjects(response);
	}
	return 0;
}

const struct command command_ledger = {
	"ledger", "[OPTIONS] [CONTAINER|daemon|monitor]", "who was up and down, and for how long", ledger_entries,
	sizeof(struct ledger_options), 0, 1, false, ledger};
