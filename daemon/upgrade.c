/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another binary in hydrad's place: clients stay connected, workers go on, and what is asked meanwhile waits.
 */
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "proto/message.h"
#include "proto/ttrpc_seal.h"
#include "shim.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A request that came while an upgrade waits: the new binary handles it, or we do when nothing comes of the upgrade. */
struct held {
	struct ttrpc_call *call;
	ProtobufCMessage *message;
	struct held *next;
};

static struct held *take_held(struct daemon *self, const struct ttrpc_call *call)
{
	for (struct held **link = &self->held; *link != NULL; link = &(*link)->next) {
		struct held *found = *link;

		if (call != NULL && found->call != call)
			continue;
		*link = found->next;
		return found;
	}
	return NULL;
}

static void held_free(struct held *self)
{
	message_free(self->message);
	free(self);
}

static void forget_held(struct ttrpc_call *call)
{
	struct held *found = take_held(call->server->context, call);

	if (found != NULL)
		held_free(found);
	ttrpc_reply_empty(call);
}

bool upgrade_holds(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct daemon *self = call->server->context;
	struct held **link = &self->held;
	struct held *held = self->upgrade != NULL ? calloc(1, sizeof(*held)) : NULL;

	if (held == NULL)
		return false;
	held->call = call;
	held->message = message_copy(message);
	if (held->message == NULL) {
		free(held);
		return false;
	}
	call->on_abandoned = forget_held;
	while (*link != NULL)
		link = &(*link)->next;
	*link = held;
	return true;
}

static void forget(struct daemon *self)
{
	struct held *held;

	event_loop_disarm(&self->loop, &self->upgrade_timer);
	free(self->upgrade_path);
	self->upgrade_path = NULL;
	self->upgrade = NULL;
	while ((held = take_held(self, NULL)) != NULL) {
		held->call->on_abandoned = NULL;
		held->call->method->handle(held->call, held->message);
		held_free(held);
	}
}

static void abandoned(struct ttrpc_call *call)
{
	forget(call->server->context);
	ttrpc_reply_empty(call);
}

static bool seal_followers(const struct daemon *self, Hydra__V1__SealedDaemon *sealed)
{
	size_t count = 0;

	for (const struct entry *entry = self->entries; entry != NULL; entry = entry->next)
		count++;
	sealed->followers = calloc(count + 1, sizeof(*sealed->followers));
	for (const struct entry *entry = self->entries; entry != NULL && sealed->followers != NULL; entry = entry->next) {
		Hydra__V1__SealedFollower *item = malloc(sizeof(*item));

		if (item == NULL)
			return false;
		hydra__v1__sealed_follower__init(item);
		item->namespace_ = text_copy(entry->namespace);
		item->id = text_copy(entry->id);
		item->last_sequence = entry->last_sequence;
		sealed->followers[sealed->n_followers++] = item;
	}
	return sealed->followers != NULL;
}

static Hydra__V1__SealedDaemon *seal(const struct daemon *self)
{
	auto_message Hydra__V1__SealedDaemon *sealed = malloc(sizeof(*sealed));

	if (sealed == NULL)
		return NULL;
	hydra__v1__sealed_daemon__init(sealed);
	sealed->version = SEAL_VERSION;
	sealed->program_version = text_copy(HYDRA_VERSION);
	sealed->lock_fd = self->lock_fd;
	sealed->migration_fd = self->migration_fd;
	sealed->server = ttrpc_server_seal(&self->server, self->upgrade);
	if (sealed->server == NULL || !workers_seal(self, sealed) || !events_seal(self, sealed) || !seal_followers(self, sealed))
		return NULL;
	return take_ptr(&sealed);
}

static void visit_fds(const Hydra__V1__SealedDaemon *sealed, void (*visit)(int fd))
{
	ttrpc_sealed_fds(sealed->server, visit);
	visit(sealed->lock_fd);
	visit(sealed->migration_fd);
	for (size_t i = 0; i < sealed->n_workers; i++)
		visit(sealed->workers[i]->message_fd);
}

/* Returns only when it did not work. */
static int execute(struct daemon *self, struct error *err)
{
	auto_message Hydra__V1__SealedDaemon *sealed = seal(self);
	auto_free uint8_t *state = NULL;
	size_t size = 0;
	int r;

	if (sealed == NULL)
		return fail_errno(err, ENOMEM, "seal the state");
	r = message_encode(&sealed->base, &state, &size, err);
	if (r < 0)
		return r;
	visit_fds(sealed, reexec_keep);
	r = reexec(self->upgrade_path, self->argv, state, size, err);
	visit_fds(sealed, reexec_keep_not);
	return r;
}

/* From the event loop itself: no request is half handled. */
static void upgrade_now(struct event_timer *timer)
{
	struct daemon *self = timer->context;
	struct ttrpc_call *call = self->upgrade;
	struct error err;

	if (call == NULL || self->errands > 0)
		return;
	(void) execute(self, &err);
	log_error("upgrade failed", "error=\"%s\"", err.message);
	call->on_abandoned = NULL;
	ttrpc_refuse_error(call, &err);
	forget(self);
}

void upgrade_consider(struct daemon *self)
{
	if (self->upgrade == NULL || self->errands > 0)
		return;
	event_loop_disarm(&self->loop, &self->upgrade_timer);
	self->upgrade_timer = (struct event_timer){.handle = upgrade_now, .context = self};
	event_loop_arm(&self->loop, &self->upgrade_timer, 0);
}

void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__UpgradeRequest *request = (const void *) message;
	struct daemon *self = call->server->context;
	struct error err;

	if (self->upgrade != NULL) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "upgrade: another one is under way");
		return;
	}
	if (reexec_check(request->path, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	self->upgrade_path = text_copy(request->path);
	self->upgrade = call;
	call->on_abandoned = abandoned;
	upgrade_consider(self);
}

int upgrade_read(const struct reexec_options *options, Hydra__V1__SealedDaemon **ret_sealed, struct error *err)
{
	auto_free uint8_t *data = NULL;
	auto_message Hydra__V1__SealedDaemon *sealed = NULL;
	size_t size = 0;
	int r = reexec_read(options, &data, &size, err);

	if (r < 0)
		return r;
	sealed = (Hydra__V1__SealedDaemon *) (void *) message_decode(&hydra__v1__sealed_daemon__descriptor, data, size);
	if (sealed == NULL)
		return fail_because(err, EPROTO, "the state is not one of hydrad");
	r = seal_check(sealed->program_version, sealed->version, sealed->needs, sealed->server, err);
	if (r == 0)
		*ret_sealed = take_ptr(&sealed);
	return r;
}

void upgrade_take_over(struct daemon *self, const Hydra__V1__SealedDaemon *sealed, const struct reexec_options *options)
{
	struct ttrpc_call *call;

	visit_fds(sealed, reexec_keep_not);
	reexec_finish(options);
	workers_unseal(self, sealed);
	log_info(options->refused != NULL ? "upgrade refused" : "upgraded", "from=%s to=%s", sealed->program_version, HYDRA_VERSION);
	ttrpc_server_unseal(&self->server, sealed->server, &call);
	seal_answer(call, sealed->program_version, options->refused);
}
