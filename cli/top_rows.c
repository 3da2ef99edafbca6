/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/top.h"
#include "proto/message.h"
#include "state/run_dir.h"
#include "state/shim_process.h"

#include <stdlib.h>
#include <string.h>

static void answered(struct top_row *row)
{
	row->awaited--;
	top_answered(row->top);
}

static void state_came(struct ttrpc_client *client, const ProtobufCMessage *message, const struct error *err, void *user)
{
	const Hydra__V1__StateResponse *response = (const void *) message;
	struct top_row *row = user;

	(void) client;
	(void) err;
	if (response != NULL && response->record != NULL) {
		record_free(row->record);
		row->record = (record *) (void *) message_copy(&response->record->base);
	}
	answered(row);
}

static void stats_came(struct ttrpc_client *client, const ProtobufCMessage *message, const struct error *err, void *user)
{
	const Hydra__V1__StatsResponse *response = (const void *) message;
	struct top_row *row = user;

	(void) client;
	(void) err;
	if (response != NULL)
		row->now = (struct top_sample){.is_there = true,
					       .is_partial = response->log_counts_are_partial,
					       .time_ns = response->time_ns,
					       .cpu_ns = response->cpu_ns,
					       .memory_bytes = response->memory_bytes,
					       .memory_limit_bytes = response->memory_limit_bytes,
					       .pids = response->pids,
					       .output_bytes = response->log_read_bytes,
					       .dropped_bytes = response->log_dropped_bytes,
					       .spilled_bytes = response->log_spilled_bytes};
	answered(row);
}

static void hang_up(struct top_row *row)
{
	if (row->has_client)
		ttrpc_client_deinit(&row->client);
	row->has_client = false;
	row->awaited = 0;
}

static void closed(struct ttrpc_client *client)
{
	hang_up(client->context);
}

static void row_free(struct top_row *row)
{
	hang_up(row);
	record_free(row->record);
	free(row->namespace);
	free(row->id);
	free(row);
}

static void load_from_disk(struct top_row *row)
{
	const struct cli *cli = row->top->cli;
	struct run_dir dir;
	struct error ignored;
	record *loaded = NULL;

	if (run_dir_open(&dir, cli->root, row->namespace, row->id, &ignored) < 0)
		return;
	if (record_load(dir.fd, &loaded, &ignored) == 0) {
		record_free(row->record);
		row->record = loaded;
	}
	run_dir_close(&dir);
}

static void connect_row(struct top_row *row)
{
	const struct cli *cli = row->top->cli;
	struct error ignored;
	int fd;

	if (shim_process_connect_now(cli->root, row->namespace, row->id, &fd, &ignored) < 0 ||
	    ttrpc_client_init(&row->client, &row->top->loop, fd, &ignored) < 0)
		return;
	row->has_client = true;
	row->client.context = row;
	row->client.on_closed = closed;
}

static void call(struct top_row *row, const char *method, const ProtobufCMessageDescriptor *response, ttrpc_answered *then)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	struct error ignored;

	row->awaited += ttrpc_client_call(&row->client, "hydra.v1.Shim", method, &request.base, response, then, row, &ignored) == 0;
}

static void ask(struct top_row *row)
{
	if (!row->has_client) {
		load_from_disk(row);
		connect_row(row);
	}
	if (row->awaited > 0) /* it owes an answer: what it said last is old */
		row->now.is_there = false;
	if (!row->has_client || row->awaited > 0)
		return;
	row->before = row->now;
	row->now.is_there = false;
	call(row, "State", &hydra__v1__state_response__descriptor, state_came);
	call(row, "Stats", &hydra__v1__stats_response__descriptor, stats_came);
}

static int compare(const struct top_row *row, const char *namespace, const char *id)
{
	int r = strcmp(row->namespace, namespace);

	return r != 0 ? r : strcmp(row->id, id);
}

static bool see(const char *namespace, const char *id, void *context)
{
	struct top *top = context;
	struct top_row **link = &top->rows;
	struct top_row *row;

	while (*link != NULL && compare(*link, namespace, id) < 0)
		link = &(*link)->next;
	row = *link;
	if (row == NULL || compare(row, namespace, id) != 0) {
		row = calloc(1, sizeof(*row));
		if (row == NULL)
			return false;
		*row = (struct top_row){.top = top, .namespace = text_copy(namespace), .id = text_copy(id), .next = *link};
		*link = row;
	}
	row->is_seen = true;
	return true;
}

static void forget_unseen(struct top *top)
{
	struct top_row **link = &top->rows;

	while (*link != NULL) {
		struct top_row *row = *link;

		if (row->is_seen) {
			link = &row->next;
			continue;
		}
		*link = row->next;
		row_free(row);
	}
}

void top_ask(struct top *top)
{
	struct error ignored;

	for (struct top_row *row = top->rows; row != NULL; row = row->next)
		row->is_seen = false;
	(void) run_dir_visit(top->cli->root, top->all_namespaces ? NULL : top->cli->namespace, see, top, &ignored);
	forget_unseen(top);
	for (struct top_row *row = top->rows; row != NULL; row = row->next)
		ask(row);
}

unsigned top_awaited(const struct top *top)
{
	unsigned awaited = 0;

	for (const struct top_row *row = top->rows; row != NULL; row = row->next)
		awaited += row->awaited;
	return awaited;
}

void top_forget_all(struct top *top)
{
	for (struct top_row *row = top->rows; row != NULL; row = row->next)
		row->is_seen = false;
	forget_unseen(top);
}
