/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of hydra.v1.Shim about checkpoints and migrations.
 */
#include "base/owned.h"
#include "shim/container.h"
#include "shim/deferred.h"
#include "shim/health.h"
#include "shim/service.h"
#include "shim/shim.h"

#include <stdlib.h>

static struct container *container_of_call(struct ttrpc_call *call)
{
	return shim_container(call->server->context);
}

/* A health check that runs would be in the way: it ends, and the request goes on then. */
static bool must_wait(struct container *container, struct ttrpc_call *call, const ProtobufCMessage *message)
{
	return deferred_add(container, call, message) ||
	       (health_interrupt(container) && deferred_hold(container, call, message));
}

void service_migration_begin(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__MigrationBeginRequest *request = (const void *) message;
	Hydra__V1__MigrationBeginResponse response = HYDRA__V1__MIGRATION_BEGIN_RESPONSE__INIT;
	struct container *container = container_of_call(call);
	Hydra__V1__MigrationEndRequest undo = HYDRA__V1__MIGRATION_END_REQUEST__INIT;
	struct error err = ERROR_NONE;
	int fd;

	if (must_wait(container, call, message))
		return;
	if (migration_is(container, request->migration_id)) {
		container_note(container, "migration-begun", container->init, request->peer);
	} else if (migration_begin(container, request, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	response.record = container->record;
	fd = ttrpc_take_over(call, &response.base, FD_NONE);
	if (fd >= 0) {
		migration_hold(container, fd);
		return;
	}
	undo.migration_id = container->record->migration->id;
	(void) migration_end(container, &undo, &err);
}

void service_migration_end(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct error err;

	if (migration_end(container_of_call(call), (const void *) message, &err) < 0)
		ttrpc_refuse_error(call, &err);
	else
		ttrpc_reply_empty(call);
}

void service_checkpoint(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	if (must_wait(container_of_call(call), call, message))
		return;
	if (call->was_begun) {
		ttrpc_refuse(call, TTRPC_ABORTED, "the shim died while it wrote the checkpoint: it may not be whole");
		return;
	}
	ttrpc_call_begin(call);
	container_checkpoint(container_of_call(call), (const void *) message, service_answer, call);
}
