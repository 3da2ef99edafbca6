/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra.v1.Daemon (proto/daemon.proto).
 */
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "proto/message.h"
#include "state/run_dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct daemon *daemon_of(struct ttrpc_call *call)
{
	return call->server->context;
}

/* A request that a worker carries out: it is answered when the worker ends, and done when the client is gone. */
struct errand {
	struct ttrpc_call *call;
	char *namespace;
	char *id;
};

static void errand_done(struct daemon *daemon, int exit_status, const char *message, void *context)
{
	struct errand *errand = context;
	struct entry *entry;
	Hydra__V1__CreateResponse response = HYDRA__V1__CREATE_RESPONSE__INIT;
	struct error err;

	entry_refresh(daemon, errand->namespace, errand->id);
	entry = entry_find(daemon, errand->namespace, errand->id);
	if (exit_status != 0) {
		(void) fail_because(&err, exit_status < 128 ? exit_status : EIO, "%s",
				    message[0] != '\0' ? message : "hydra-setup died; what it had begun is undone");
		ttrpc_refuse_error(errand->call, &err);
	} else if (strcmp(errand->call->method->name, "Remove") == 0) {
		ttrpc_reply_empty(errand->call);
	} else {
		response.pid = entry != NULL && entry->record != NULL ? entry->record->pid : 0;
		ttrpc_reply(errand->call, &response.base);
	}
	free(errand->namespace);
	free(errand->id);
	free(errand);
	daemon->errands--;
	upgrade_consider(daemon);
}

static void run_errand(struct ttrpc_call *call, const char *namespace, const char *id, const char *const *words,
		       const ProtobufCMessage *input)
{
	struct daemon *daemon = daemon_of(call);
	struct errand *errand = calloc(1, sizeof(*errand));
	auto_free uint8_t *data = NULL;
	const char *arguments[12] = {"--root", daemon->root, "--namespace", namespace};
	struct error err;
	size_t size = 0;
	int r = errand == NULL ? fail_errno(&err, ENOMEM, "serve a request") : 0;

	for (size_t i = 0; words[i] != NULL && i < 6; i++)
		arguments[4 + i] = words[i];
	if (r == 0 && input != NULL)
		r = message_encode(input, &data, &size, &err);
	if (r == 0) {
		*errand = (struct errand){.call = call, .namespace = text_copy(namespace), .id = text_copy(id)};
		r = worker_start(daemon, "hydra-setup", arguments, data, size, errand_done, errand, &err);
	}
	daemon->errands += r == 0;
	if (r < 0) {
		ttrpc_refuse_error(call, &err);
		free(errand);
	}
}

static bool names_are_valid(struct ttrpc_call *call, const char *namespace, const char *id)
{
	struct error err;

	if (id_check("namespace", namespace, &err) == 0 && id_check("container name", id, &err) == 0)
		return true;
	ttrpc_refuse_error(call, &err);
	return false;
}

static void handle_create(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	static const char *const words[] = {"create", NULL};
	const Hydra__V1__CreateRequest *request = (const void *) message;

	if (names_are_valid(call, request->namespace_, request->id) && !upgrade_holds(call, message))
		run_errand(call, request->namespace_, request->id, words, message);
}

static void handle_start(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__ContainerRequest *request = (const void *) message;
	const char *const words[] = {"start", request->id, NULL};

	if (names_are_valid(call, request->namespace_, request->id) && !upgrade_holds(call, message))
		run_errand(call, request->namespace_, request->id, words, NULL);
}

static void handle_remove(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__RemoveRequest *request = (const void *) message;
	const char *const words[] = {"remove", request->force ? "--force" : "--", request->id, NULL};

	if (names_are_valid(call, request->namespace_, request->id) && !upgrade_holds(call, message))
		run_errand(call, request->namespace_, request->id, words, NULL);
}

static void handle_list(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__ListRequest *request = (const void *) message;
	Hydra__V1__ListResponse response = HYDRA__V1__LIST_RESPONSE__INIT;
	struct daemon *daemon = daemon_of(call);
	auto_free Hydra__V1__ListItem *items = NULL;
	auto_free Hydra__V1__ListItem **pointers = NULL;
	size_t count = 0;

	entries_rescan(daemon);
	for (struct entry *entry = daemon->entries, *next; entry != NULL; entry = next) {
		next = entry->next;
		count += entry_know(entry);
	}
	items = calloc(count + 1, sizeof(*items));
	pointers = calloc(count + 1, sizeof(*pointers));
	for (struct entry *entry = daemon->entries; entry != NULL && items != NULL && pointers != NULL; entry = entry->next) {
		Hydra__V1__ListItem *item = &items[response.n_items];

		if (entry->record == NULL || (request->namespace_[0] != '\0' && strcmp(request->namespace_, entry->namespace) != 0))
			continue;
		hydra__v1__list_item__init(item);
		item->record = entry->record;
		item->exit = entry->exit;
		item->is_reachable = entry->is_reachable;
		pointers[response.n_items++] = item;
	}
	response.items = pointers;
	ttrpc_reply(call, &response.base);
}

static void handle_info(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	Hydra__V1__DaemonInfo response = HYDRA__V1__DAEMON_INFO__INIT;
	struct daemon *daemon = daemon_of(call);
	char version[] = HYDRA_VERSION;

	(void) message;
	response.version = version;
	response.pid = getpid();
	response.started_ns = daemon->started_ns;
	response.recovery_us = daemon->recovery_us;
	response.migration_address = (char *) (uintptr_t) (daemon->migration_address != NULL ? daemon->migration_address : "");
	response.certificates = (char *) (uintptr_t) (daemon->certificates != NULL ? daemon->certificates : "");
	for (struct entry *entry = daemon->entries; entry != NULL; entry = entry->next) {
		response.containers++;
		response.reachable += entry->is_reachable;
	}
	ttrpc_reply(call, &response.base);
}

static void handle_events(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__AllEventsRequest *request = (const void *) message;

	events_answer(daemon_of(call), call, request->since, request->wait);
}

#define DAEMON(name_, request_, handler_) {"hydra.v1.Daemon", name_, &hydra__v1__##request_##__descriptor, handler_}

const struct ttrpc_method daemon_methods[] = {
	DAEMON("Create", create_request, handle_create),
	DAEMON("Start", container_request, handle_start),
	DAEMON("Remove", remove_request, handle_remove),
	DAEMON("List", list_request, handle_list),
	DAEMON("Info", empty, handle_info),
	DAEMON("Events", all_events_request, handle_events),
	DAEMON("Upgrade", upgrade_request, upgrade_ask),
	DAEMON("Migrate", migrate_request, service_migrate),
	DAEMON("Preflight", migrate_request, service_preflight),
	DAEMON("Migration", migration_request, service_migration),
	DAEMON("CancelMigration", migration_request, service_cancel_migration),
	DAEMON("AddHost", known_host, service_add_host),
	DAEMON("RemoveHost", known_host, service_remove_host),
	{NULL, NULL, NULL, NULL},
};
