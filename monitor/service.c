/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra.v1.Monitor (proto/monitor.proto).
 */
#include "base/descriptor_limit.h"
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

static void handle_report(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__ReportRequest *request = (const void *) message;

	if (request->id[0] != '\0')
		shims_reported(call->server->context, request->namespace_, request->id, request->is_reachable);
	else
		(void) daemon_find(call->server->context);
	ttrpc_reply_empty(call);
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
	response.started_ns = monitor->started_ns;
	response.descriptors = descriptor_count();
	response.descriptors_max = monitor->limits.descriptors_max;
	response.deposits = store_count(monitor);
	response.deposits_refused = monitor->limits.refused;
	ttrpc_reply(call, &response.base);
}

const struct ttrpc_method monitor_methods[] = {
	{"hydra.v1.Monitor", "Spawn", &hydra__v1__spawn_request__descriptor, handle_spawn},
	{"hydra.v1.Monitor", "Ledger", &hydra__v1__ledger_request__descriptor, account_answer},
	{"hydra.v1.Monitor", "Report", &hydra__v1__report_request__descriptor, handle_report},
	{"hydra.v1.Monitor", "Upgrade", &hydra__v1__upgrade_request__descriptor, upgrade_ask},
	{"hydra.v1.Monitor", "Status", &hydra__v1__empty__descriptor, handle_status},
	{NULL, NULL, NULL, NULL},
};
