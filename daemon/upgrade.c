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

#include <stdlib.h>

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
	struct held *held = self->upgrade.call != NULL ? calloc(1, sizeof(*held)) : NULL;

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

static void gave_up(void *context, const struct error *err)
{
	struct held *held;

	if (err != NULL)
		log_error("upgrade failed", "error=\"%s\"", err->message);
	while ((held = take_held(context, NULL)) != NULL) {
		held->call->on_abandoned = NULL;
		held->call->method->handle(held->call, held->message);
		held_free(held);
	}
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
	sealed->server = ttrpc_server_seal(&self->server, self->upgrade.call);
	if (sealed->server == NULL || !workers_seal(self, sealed) || !events_seal(self, sealed) || !seal_followers(self, sealed))
		return NULL;
	return take_ptr(&sealed);
}

static void visit_fds(const ProtobufCMessage *message, void (*visit)(int fd))
{
	const Hydra__V1__SealedDaemon *sealed = (const void *) message;

	ttrpc_sealed_fds(sealed->server, visit);
	visit(sealed->lock_fd);
	visit(sealed->migration_fd);
	for (size_t i = 0; i < sealed->n_workers; i++)
		visit(sealed->workers[i]->message_fd);
}

static int execute(void *context, const char *path, struct error *err)
{
	struct daemon *self = context;
	auto_message Hydra__V1__SealedDaemon *sealed = seal(self);

	return replacement_execute(path, self->argv, sealed != NULL ? &sealed->base : NULL, visit_fds, err);
}

static bool is_quiet(const void *context)
{
	return ((const struct daemon *) context)->errands == 0;
}

void upgrade_consider(struct daemon *self)
{
	replacement_consider(&self->upgrade);
}

void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	static const struct replacement_program program = {is_quiet, execute, gave_up};
	const Hydra__V1__UpgradeRequest *request = (const void *) message;
	struct daemon *self = call->server->context;

	replacement_ask(&self->upgrade, call, request->path, &program, &self->loop, self);
}

int upgrade_read(const struct reexec_options *options, Hydra__V1__SealedDaemon **ret_sealed, struct error *err)
{
	auto_message Hydra__V1__SealedDaemon *sealed = NULL;
	int r = replacement_read(options, &hydra__v1__sealed_daemon__descriptor, "hydrad", (ProtobufCMessage **) (void *) &sealed, err);

	if (r == 0)
		r = seal_check(sealed->program_version, sealed->version, sealed->needs, sealed->server, err);
	if (r == 0)
		*ret_sealed = take_ptr(&sealed);
	return r;
}

void upgrade_take_over(struct daemon *self, const Hydra__V1__SealedDaemon *sealed, const struct reexec_options *options)
{
	struct ttrpc_call *call;

	visit_fds(&sealed->base, reexec_keep_not);
	reexec_finish(options);
	workers_unseal(self, sealed);
	log_info(options->refused != NULL ? "upgrade refused" : "upgraded", "from=%s to=%s", sealed->program_version, HYDRA_VERSION);
	ttrpc_server_unseal(&self->server, sealed->server, &call);
	seal_answer(call, sealed->program_version, options->refused);
}
