/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/upgrade.h"

#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim.pb-c.h"
#include "shim/container.h"
#include "shim/containerd.h"
#include "shim/deferred.h"
#include "shim/shim.h"

#include <errno.h>
#include <stdlib.h>

static void forget(struct shim *self)
{
	event_loop_disarm(&self->loop, &self->upgrade_timer);
	free(self->upgrade_path);
	self->upgrade_path = NULL;
	self->upgrade = NULL;
	if (self->containers != NULL)
		deferred_run(self->containers);
}

static void abandoned(struct ttrpc_call *call)
{
	forget(call->server->context);
	ttrpc_reply_empty(call);
}

static bool is_quiet(const struct shim *self)
{
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

/* Returns only when it did not work. */
static int execute(struct shim *self, struct error *err)
{
	const struct container *container = self->containers;
	const char *argv[] = {"hydra-shim", "--root", self->root, "--namespace", self->namespace, "--id", container->dir.id, NULL};
	auto_message Hydra__V1__SealedShim *sealed = shim_seal(self);
	auto_free uint8_t *state = NULL;
	size_t size = 0;
	int r;

	if (sealed == NULL)
		return fail_errno(err, ENOMEM, "seal the state");
	r = message_encode(&sealed->base, &state, &size, err);
	if (r < 0)
		return r;
	shim_sealed_fds(sealed, reexec_keep);
	r = reexec(self->upgrade_path, argv, state, size, err);
	shim_sealed_fds(sealed, reexec_keep_not);
	return r;
}

/* From the event loop itself: no request is half handled. */
static void upgrade_now(struct event_timer *timer)
{
	struct shim *self = timer->context;
	struct ttrpc_call *call = self->upgrade;
	struct error err;

	if (call == NULL || !is_quiet(self))
		return;
	(void) execute(self, &err);
	log_error("upgrade failed", "container=%s error=\"%s\"", self->containers->dir.id, err.message);
	forget(self);
	call->on_abandoned = NULL;
	ttrpc_refuse_error(call, &err);
}

void upgrade_consider(struct shim *self)
{
	if (self->upgrade == NULL || !is_quiet(self))
		return;
	self->upgrade_timer = (struct event_timer){.handle = upgrade_now, .context = self, .due_ns = self->upgrade_timer.due_ns,
						   .next = self->upgrade_timer.next};
	event_loop_arm(&self->loop, &self->upgrade_timer, 0);
}

static int check(const struct shim *self, const char *path, struct error *err)
{
	const struct container *container = self->containers;

	if (self->upgrade != NULL)
		return fail_because(err, EBUSY, "upgrade: another one is under way");
	if (container != NULL && migration_is_under_way(container))
		return fail_because(err, EBUSY, "upgrade the shim of '%s': the container is being migrated to %s", container->dir.id,
				    container->record->migration->peer);
	return reexec_check(path, err);
}

void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__UpgradeRequest *request = (const void *) message;
	struct shim *self = call->server->context;
	struct error err;

	if (check(self, request->path, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	self->upgrade_path = text_copy(request->path);
	self->upgrade = call;
	call->on_abandoned = abandoned;
	upgrade_consider(self);
}
