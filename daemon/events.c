/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "daemon/daemon.h"
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>

#define KEPT    1024
#define AT_ONCE 128

struct recent_events {
	uint64_t last_number;
	Hydra__V1__Event *kept[KEPT]; /* number N is at N % KEPT */
	struct ttrpc_call *waiting;
};

int events_init(struct daemon *daemon, struct error *err)
{
	daemon->events = calloc(1, sizeof(*daemon->events));
	return daemon->events != NULL ? 0 : fail_errno(err, ENOMEM, "keep events");
}

void events_deinit(struct daemon *daemon)
{
	for (size_t i = 0; daemon->events != NULL && i < KEPT; i++)
		message_free(daemon->events->kept[i]);
	free(daemon->events);
}

static void reply(struct recent_events *self, struct ttrpc_call *call, uint64_t since)
{
	Hydra__V1__AllEventsResponse response = HYDRA__V1__ALL_EVENTS_RESPONSE__INIT;
	Hydra__V1__NumberedEvent items[AT_ONCE];
	Hydra__V1__NumberedEvent *pointers[AT_ONCE];
	uint64_t oldest = self->last_number > KEPT ? self->last_number - KEPT + 1 : 1;

	response.events = pointers;
	for (uint64_t number = since + 1 > oldest ? since + 1 : oldest;
	     number <= self->last_number && response.n_events < AT_ONCE; number++) {
		Hydra__V1__NumberedEvent *item = &items[response.n_events];

		hydra__v1__numbered_event__init(item);
		item->number = number;
		item->event = self->kept[number % KEPT];
		pointers[response.n_events++] = item;
	}
	ttrpc_reply(call, &response.base);
}

void events_add(struct daemon *daemon, const Hydra__V1__Event *event)
{
	struct recent_events *self = daemon->events;
	Hydra__V1__Event *copy = (Hydra__V1__Event *) (void *) message_copy(&event->base);

	if (copy == NULL)
		return;
	self->last_number++;
	message_free(self->kept[self->last_number % KEPT]);
	self->kept[self->last_number % KEPT] = copy;
	while (self->waiting != NULL) {
		struct ttrpc_call *call = self->waiting;

		self->waiting = call->waiting_next;
		reply(self, call, (uint64_t) (uintptr_t) call->user);
	}
}

static void forget(struct ttrpc_call *call)
{
	struct daemon *daemon = call->server->context;

	for (struct ttrpc_call **link = &daemon->events->waiting; *link != NULL; link = &(*link)->waiting_next) {
		if (*link == call) {
			*link = call->waiting_next;
			break;
		}
	}
	ttrpc_reply_empty(call);
}

void events_answer(struct daemon *daemon, struct ttrpc_call *call, uint64_t since, bool wait)
{
	struct recent_events *self = daemon->events;

	if (!wait || since < self->last_number) {
		reply(self, call, since);
		return;
	}
	call->user = (void *) (uintptr_t) since;
	call->on_abandoned = forget;
	call->waiting_next = self->waiting;
	self->waiting = call;
}

bool events_seal(const struct daemon *daemon, Hydra__V1__SealedDaemon *sealed)
{
	const struct recent_events *self = daemon->events;
	uint64_t first = self->last_number > KEPT ? self->last_number - KEPT + 1 : 1;

	sealed->last_event = self->last_number;
	sealed->events = calloc(KEPT, sizeof(*sealed->events));
	for (uint64_t number = first; number <= self->last_number && sealed->events != NULL; number++) {
		Hydra__V1__Event *copy = (Hydra__V1__Event *) (void *) message_copy(&self->kept[number % KEPT]->base);

		if (copy == NULL)
			return false;
		sealed->events[sealed->n_events++] = copy;
	}
	return sealed->events != NULL;
}

void events_unseal(struct daemon *daemon, const Hydra__V1__SealedDaemon *sealed)
{
	if (sealed->last_event < sealed->n_events)
		return;
	daemon->events->last_number = sealed->last_event - sealed->n_events;
	for (size_t i = 0; i < sealed->n_events; i++)
		events_add(daemon, sealed->events[i]);
}
