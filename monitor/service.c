/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra.v1.Monitor (proto/monitor.proto).
 */
#include "base/owned.h"
#include "monitor/monitor.h"

#include <stdlib.h>
#include <unistd.h>

static void handle_spawn(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__SpawnRequest *request = (const void *) message;
	Hydra__V1__SpawnResponse response = HYDRA__V1__SPAWN_RESPONSE__INIT;
	struct error err;
	pid_t pid;

	if (shims_spawn(call->server->context, request->namespace_, request->id, false, &pid, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	response.pid = pid;
	ttrpc_reply(call, &response.base);
}

static void handle_ledger(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__LedgerRequest *request = (const void *) message;
	struct monitor *monitor = call->server->context;
	Hydra__V1__LedgerResponse response = HYDRA__V1__LEDGER_RESPONSE__INIT;
	auto_free Hydra__V1__LedgerEntry *items = calloc(LEDGER_ENTRIES, sizeof(*items));
	auto_free Hydra__V1__LedgerEntry **pointers = calloc(LEDGER_ENTRIES, sizeof(*pointers));
	uint64_t first = monitor->ledger_count > LEDGER_ENTRIES ? monitor->ledger_count - LEDGER_ENTRIES : 0;

	for (uint64_t number = first; number < monitor->ledger_count && items != NULL && pointers != NULL; number++) {
		struct ledger_entry *entry = &monitor->ledger[number % LEDGER_ENTRIES];
		Hydra__V1__LedgerEntry *item = &items[response.n_entries];

		if (entry->time_ns <= request->since_ns)
			continue;
		hydra__v1__ledger_entry__init(item);
		item->time_ns = entry->time_ns;
		item->subject = entry->subject;
		item->is_up = entry->is_up;
		item->pid = entry->pid;
		item->detail = entry->detail;
		pointers[response.n_entries++] = item;
	}
	response.entries = pointers;
	ttrpc_reply(call, &response.base);
}

static void handle_status(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct monitor *monitor = call->server->context;
	Hydra__V1__MonitorStatus response = HYDRA__V1__MONITOR_STATUS__INIT;
	char version[] = HYDRA_VERSION;

	(void) message;
	response.pid = getpid();
	response.version = version;
	response.shims = shims_count(monitor);
	response.daemon_pid = monitor->daemon_pid;
	response.daemon_restarts = monitor->daemon_restarts;
	ttrpc_reply(call, &response.base);
}

const struct ttrpc_method monitor_methods[] = {
	{"hydra.v1.Monitor", "Spawn", &hydra__v1__spawn_request__descriptor, handle_spawn},
	{"hydra.v1.Monitor", "Ledger", &hydra__v1__ledger_request__descriptor, handle_ledger},
	{"hydra.v1.Monitor", "Upgrade", &hydra__v1__upgrade_request__descriptor, upgrade_ask},
	{"hydra.v1.Monitor", "Status", &hydra__v1__empty__descriptor, handle_status},
	{NULL, NULL, NULL, NULL},
};
