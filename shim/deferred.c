/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/deferred.h"

#include "proto/message.h"
#include "shim/container.h"
#include "shim/shim.h"

#include <stdlib.h>

struct deferred {
	struct ttrpc_call *call;
	ProtobufCMessage *message;
	struct deferred *next;
};

static void deferred_free(struct deferred *self)
{
	message_free(self->message);
	free(self);
}

static struct deferred *take(struct container *container, const struct ttrpc_call *call)
{
	for (struct deferred **link = &container->deferred; *link != NULL; link = &(*link)->next) {
		struct deferred *found = *link;

		if (call != NULL && found->call != call)
			continue;
		*link = found->next;
		return found;
	}
	return NULL;
}

static void forget(struct ttrpc_call *call)
{
	struct deferred *found = take(call->user, call);

	if (found != NULL)
		deferred_free(found);
	ttrpc_reply_empty(call);
}

/* A migration is no operation to wait for: it may take long, and the container may be gone after it. What comes while an
 * upgrade waits is left to the new binary: otherwise the upgrade might never find a quiet moment. */
static bool must_wait(const struct container *container)
{
	if (container->shim->upgrade.call != NULL)
		return true;
	return container->operation != NULL && container->record->state != HYDRA__V1__CONTAINER_STATE__STATE_MIGRATING;
}

bool deferred_add(struct container *container, struct ttrpc_call *call, const ProtobufCMessage *message)
{
	return must_wait(container) && deferred_hold(container, call, message);
}

bool deferred_hold(struct container *container, struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct deferred *self = calloc(1, sizeof(*self));
	struct deferred **link = &container->deferred;

	if (self == NULL)
		return false;
	self->call = call;
	self->message = message_copy(message);
	if (self->message == NULL) {
		free(self);
		return false;
	}
	call->user = container;
	call->on_abandoned = forget;
	while (*link != NULL)
		link = &(*link)->next;
	*link = self;
	return true;
}

void deferred_run(struct container *container)
{
	size_t count = 0;

	for (const struct deferred *self = container->deferred; self != NULL; self = self->next)
		count++;
	/* those that are there now: one that has to wait again comes back to the end of the list */
	for (; count > 0 && container->operation == NULL && container->shim->upgrade.call == NULL; count--) {
		struct deferred *self = take(container, NULL);

		if (self == NULL)
			return;
		self->call->user = NULL;
		self->call->on_abandoned = NULL;
		self->call->method->handle(self->call, self->message);
		deferred_free(self);
	}
}

void deferred_refuse(struct container *container)
{
	for (struct deferred *self = take(container, NULL); self != NULL; self = take(container, NULL)) {
		self->call->on_abandoned = NULL;
		ttrpc_refuse(self->call, TTRPC_NOT_FOUND, "container '%s' is gone", container->dir.id);
		deferred_free(self);
	}
}
