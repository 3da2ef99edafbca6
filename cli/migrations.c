/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl migrations: those under way, and what became of those before.
 *
 * From the files that hydra-setup writes, so that no daemon is needed.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "state/migration_log.h"

#include <stdio.h>
#include <string.h>

typedef Hydra__V1__MigrationStatus migration_status;

struct migrations_options {
	bool all;
};

static const struct option_entry migrations_entries[] = {
	{'a', "all", NULL, OPTION_FLAG, offsetof(struct migrations_options, all), "those that are over too, the last 200"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static const char *result_of(const migration_status *status)
{
	return !status->is_done ? "running" : status->has_failed ? "failed" : strcmp(status->phase, "done") == 0 ? "done" : "unknown";
}

static void describe_time(uint64_t duration_us, char *buffer, size_t size)
{
	if (duration_us == 0)
		(void) text_fit(buffer, size, "-");
	else
		format_duration(duration_us * NS_PER_US, buffer, size);
}

static void describe_stalls(const migration_status *status, char *buffer, size_t size)
{
	char all[32], longest[32];

	describe_time(status->stall_us, all, sizeof(all));
	describe_time(status->stall_max_us, longest, sizeof(longest));
	if (status->stalls == 0)
		(void) text_fit(buffer, size, "-");
	else
		(void) text_fit(buffer, size, "%s in %llu, at most %s", all, (unsigned long long) status->stalls, longest);
}

static void add_row(struct table *table, const migration_status *status)
{
	char started[64], downtime[32], lazy[32], bytes[32], faults[24], stalls[96];
	auto_free char *container = text_format("%s/%s", status->namespace_, status->container_id);

	format_age(status->started_ns, started, sizeof(started));
	describe_time(status->downtime_us, downtime, sizeof(downtime));
	describe_time(status->lazy_us, lazy, sizeof(lazy));
	format_size(status->bytes_sent, bytes, sizeof(bytes));
	(void) text_fit(faults, sizeof(faults), "%llu", (unsigned long long) status->faults);
	describe_stalls(status, stalls, sizeof(stalls));
	table_add(table, (const char *[]){started, container, status->is_arrival ? "from" : "to", status->peer,
					  status->is_done ? result_of(status) : status->phase, status->mode[0] != '\0' ? status->mode : "-", downtime,
					  lazy, bytes, faults, stalls, status->id});
}

static void print_table(const struct migration_list *list, bool all)
{
	static const char *const headers[] = {"STARTED", "CONTAINER", "", "HOST", "STATE", "MODE", "DOWNTIME", "LAZY", "SENT", "FAULTS", "STALLS",
					      "ID", NULL};
	struct table *table = table_new(headers);

	for (size_t i = 0; i < list->count; i++) {
		if (all || !list->items[i]->is_done)
			add_row(table, list->items[i]);
	}
	table_print(table);
	table_free(table);
}

static void print_json(const struct migration_list *list, bool all)
{
	const char *separator = "";

	(void) fputs("[", stdout);
	for (size_t i = 0; i < list->count; i++) {
		auto_free char *json = NULL;

		if (!all && list->items[i]->is_done)
			continue;
		json = json_of_message(&list->items[i]->base, false);
		(void) printf("%s%.*s,\"result\":\"%s\"}", separator, (int) strlen(json) - 1, json, result_of(list->items[i]));
		separator = ",\n ";
	}
	(void) puts("]");
}

static int migrations(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct migrations_options *options = context;
	struct migration_list list;
	int r = migration_log_list(cli->root, &list, err);

	(void) rest;
	if (r == 0 && cli_wants_json(cli))
		print_json(&list, options->all);
	else if (r == 0)
		print_table(&list, options->all);
	migration_list_deinit(&list);
	return r;
}

const struct command command_migrations = {
	"migrations", "[OPTIONS]", "moves of containers from and to this host", migrations_entries, sizeof(struct migrations_options), 0, 0,
	false, migrations};
