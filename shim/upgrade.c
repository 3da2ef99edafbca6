/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/upgrade.h"

#include "base/log.h"
#include "base/owned.h"
#include "proto/message.h"
#include "shim.pb-c.h"
#include "shim/container.h"
#include "shim/containerd.h"
#include "shim/deferred.h"
#include "shim/shim.h"

#include <errno.h>

static bool is_quiet(const void *context)
{
	const struct shim *self = context;
	const struct container *container = self->containers;

	if (self->tasks != NULL || self->is_ending || container == NULL || container->operation != NULL)
		return false;
	if (self->containerd != NULL && (self->containerd->offered != 0 || container->is_forgotten))
		return false;
	for (const struct process *process = container->processes; process != NULL; process = process->next) {
		if (process->console_listener.fd >= 0)
			return false;
	}
	return container->lease.fd < 0 && container->kept_count == 0;
}

static void visit_fds(const ProtobufCMessage *sealed, void (*visit)(int fd))
{
	shim_sealed_fds((const void *) sealed, visit);
}

static int execute(void *context, const char *path, struct error *err)
{
	const struct shim *self = context;
	const char *argv[] = {"hydra-shim", "--root", self->root, "--namespace", self->namespace, "--id", self->containers->dir.id, NULL};
	auto_message Hydra__V1__SealedShim *sealed = shim_seal(self);

	return replacement_execute(path, argv, sealed != NULL ? &sealed->base : NULL, visit_fds, err);
}

static void gave_up(void *context, const struct error *err)
{
	struct shim *self = context;

	if (self->containers == NULL)
		return;
	if (err != NULL)
		log_error("upgrade failed", "container=%s error=\"%s\"", self->containers->dir.id, err->message);
	deferred_run(self->containers);
}

static const struct replacement_program program = {is_quiet, execute, gave_up};

void upgrade_consider(struct shim *self)
{
	replacement_consider(&self->upgrade);
}

static int check(const struct shim *self, struct error *err)
{
	const struct container *container = self->containers;

	if (container != NULL && migration_is_under_way(container))
		return fail_because(err, EBUSY, "upgrade the shim of '%s': the container is being migrated to %s", container->dir.id,
				    container->record->migration->peer);
	return 0;
}

void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__UpgradeRequest *request = (const void *) message;
	struct shim *self = call->server->context;
	struct error err;

	if (check(self, &err) < 0)
		ttrpc_refuse_error(call, &err);
	else
		replacement_ask(&self->upgrade, call, request->path, &program, &self->loop, self);
}
