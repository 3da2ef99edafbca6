/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl ps, inspect.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "state/run_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ps_options {
	bool all, all_namespaces, quiet;
};

static const struct option_entry ps_entries[] = {
	{'a', "all", NULL, OPTION_FLAG, offsetof(struct ps_options, all), "stopped ones too"},
	ALL_NAMESPACES_ENTRY(struct ps_options, all_namespaces),
	{'q', "quiet", NULL, OPTION_FLAG, offsetof(struct ps_options, quiet), "names only"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static const char *const ps_headers[] = {"NAMESPACE", "NAME", "STATE", "PID", "ADDRESS", "COMMAND", NULL};
#define PS_COLUMNS (sizeof(ps_headers) / sizeof(ps_headers[0]) - 1)

struct listing {
	const struct cli *cli;
	const struct ps_options *options;
	struct table *table;
	struct text *json;
	int count;
};

static void describe_state(const struct cli *cli, const struct container_view *view, char *buffer, size_t size)
{
	static const char *const healths[] = {"", " (health: starting)", " (healthy)", " (unhealthy)"};
	const Hydra__V1__Health *health = view->record->health;
	unsigned status = health != NULL && health->status < 4 ? health->status : 0;
	char age[64];

	if (strcmp(view->state, "running") == 0) {
		format_age(view->record->started_ns, age, sizeof(age));
		(void) text_fit(buffer, size, "running%s, started %s", healths[status], age);
	} else if (strcmp(view->state, "stopped") == 0 && view->exit != NULL && view->exit->is_known) {
		format_age(view->exit->finished_ns, age, sizeof(age));
		(void) text_fit(buffer, size, "stopped (%u%s) %s", view->exit->exit_code, view->exit->oom_killed ? ", OOM" : "", age);
	} else if (strcmp(view->state, "stopped") == 0) {
		(void) text_fit(buffer, size, "stopped (status unknown)");
	} else if (strcmp(view->state, "migrating") == 0 && view->record->migration != NULL) {
		describe_migration(cli, view, buffer, size);
	} else {
		(void) text_fit(buffer, size, "%s", view->state);
	}
}

static void add_row(struct listing *self, const struct container_view *view)
{
	const Hydra__V1__Network *network = view->record->network;
	const char *cells[PS_COLUMNS];
	size_t count = 0;
	char state[128];
	char pid[16] = "-";
	char command[40];

	describe_state(self->cli, view, state, sizeof(state));
	if (view->record->pid > 0 && strcmp(view->state, "stopped") != 0)
		(void) text_fit(pid, sizeof(pid), "%d", view->record->pid);
	(void) snprintf(command, sizeof(command), "%s", view->record->command[0] != '\0' ? view->record->command : "-");
	if (self->options->all_namespaces)
		cells[count++] = view->record->namespace_;
	cells[count++] = view->record->id;
	cells[count++] = state;
	cells[count++] = pid;
	cells[count++] = network != NULL && network->ip[0] != '\0' ? network->ip : "-";
	cells[count++] = command;
	table_add(self->table, cells);
}

static bool list_one(const char *namespace, const char *id, void *context)
{
	struct listing *self = context;
	struct cli cli = *self->cli;
	struct container_view view;
	struct error ignored;

	cli.namespace = namespace;
	if (cli_view(&cli, id, &view, &ignored) < 0)
		return true;
	if (self->options->all || strcmp(view.state, "stopped") != 0) {
		if (self->options->quiet) {
			(void) printf("%s%s%s\n", self->options->all_namespaces ? namespace : "", self->options->all_namespaces ? "/" : "", id);
		} else if (cli_wants_json(self->cli)) {
			auto_free char *json = json_of_view(&view, false);

			text_addf(self->json, "%s%s", self->count > 0 ? "," : "", json);
		} else {
			add_row(self, &view);
		}
		self->count++;
	}
	container_view_deinit(&view);
	return true;
}

static int ps(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct ps_options *options = context;
	auto_text json = TEXT_EMPTY;
	struct listing listing = {.cli = cli, .options = options, .table = table_new(ps_headers + !options->all_namespaces), .json = &json};
	int r = run_dir_visit(cli->root, options->all_namespaces ? NULL : cli->namespace, list_one, &listing, err);

	(void) rest;
	if (r == 0 && !listing.options->quiet) {
		if (cli_wants_json(cli))
			(void) printf("[%s]\n", json.data != NULL ? json.data : "");
		else
			table_print(listing.table);
	}
	table_free(listing.table);
	return r;
}

const struct command command_ps = {"ps", "[OPTIONS]", "list containers", ps_entries, sizeof(struct ps_options), 0, 0, false, ps};

static int inspect(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	struct container_view view;
	auto_free char *json = NULL;
	int r = cli_view(cli, rest->positional[0], &view, err);

	(void) options;
	if (r < 0)
		return r;
	json = json_of_view(&view, true);
	(void) puts(json);
	container_view_deinit(&view);
	return 0;
}

const struct command command_inspect = {"inspect", "CONTAINER", "everything known of a container, as JSON", NULL, 0, 1, 1,
					false,	   inspect};
