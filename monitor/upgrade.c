/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another binary in the monitor's place: shims and hydrad stay its children, deposits and connections stay open.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"
#include "proto/message.h"
#include "proto/ttrpc_seal.h"
#include "shim.pb-c.h"

#include <stdlib.h>
#include <unistd.h>

#define STATE(name) HYDRA__V1__LEDGER_STATE__LEDGER_##name

static void gave_up(void *context, const struct error *err)
{
	(void) context;
	if (err != NULL)
		log_error("upgrade failed", "error=\"%s\"", err->message);
}

static void seal_daemon(const struct monitor *self, Hydra__V1__SealedMonitor *sealed)
{
	sealed->daemon_pid = self->daemon_pid;
	sealed->daemon_restarts = self->daemon_restarts;
	sealed->daemon_started_ns = self->daemon_started_ns;
	sealed->daemon_delay_ns = self->daemon_delay_ns;
	sealed->daemon_in_ns = event_timer_rest(&self->daemon_timer);
}

static Hydra__V1__SealedMonitor *seal(const struct monitor *self)
{
	auto_message Hydra__V1__SealedMonitor *sealed = malloc(sizeof(*sealed));

	if (sealed == NULL)
		return NULL;
	hydra__v1__sealed_monitor__init(sealed);
	sealed->version = SEAL_VERSION;
	sealed->program_version = text_copy(HYDRA_VERSION);
	sealed->lock_fd = self->lock_fd;
	sealed->store_fd = self->store_source.fd;
	sealed->metrics_fd = self->metrics_source.fd;
	sealed->metrics_tcp_fd = self->metrics_tcp_source.fd;
	seal_daemon(self, sealed);
	sealed->server = ttrpc_server_seal(&self->server, self->upgrade.call);
	if (sealed->server == NULL || !store_seal(self, sealed) || !shims_seal(self, sealed) || !ends_seal(&self->ends, sealed))
		return NULL;
	return take_ptr(&sealed);
}

static void visit_fds(const ProtobufCMessage *message, void (*visit)(int fd))
{
	const Hydra__V1__SealedMonitor *sealed = (const void *) message;

	ttrpc_sealed_fds(sealed->server, visit);
	visit(sealed->lock_fd);
	visit(sealed->store_fd);
	visit(sealed->metrics_fd);
	visit(sealed->metrics_tcp_fd);
	for (size_t i = 0; i < sealed->n_deposits; i++)
		visit(sealed->deposits[i]->fd);
	for (size_t i = 0; i < sealed->n_depositor_fds; i++)
		visit(sealed->depositor_fds[i]);
}

static int execute(void *context, const char *path, struct error *err)
{
	struct monitor *self = context;
	auto_message Hydra__V1__SealedMonitor *sealed = seal(self);

	return replacement_execute(path, self->argv, sealed != NULL ? &sealed->base : NULL, visit_fds, err);
}

static bool is_quiet(const void *context)
{
	(void) context; /* it does one thing after the other */
	return true;
}

void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	static const struct replacement_program program = {is_quiet, execute, gave_up};
	const Hydra__V1__UpgradeRequest *request = (const void *) message;
	struct monitor *self = call->server->context;

	replacement_ask(&self->upgrade, call, request->path, &program, &self->loop, self);
}

/* A binary from before the ledger was a file watched these: with it their times begin. */
static void note_who_is_up(struct monitor *self)
{
	account_note(self, "monitor", STATE(UP), getpid(), "");
	if (self->daemon_pid > 0)
		account_note(self, "daemon", STATE(UP), self->daemon_pid, "");
	for (const struct watched_shim *shim = self->shims; shim != NULL; shim = shim->next) {
		char name[LEDGER_NAME_SIZE];

		account_name(name, shim->namespace, shim->id);
		if (shim->pid > 0 && ledger_find(&self->ledger, name) == NULL)
			account_note(self, name, STATE(UP), shim->pid, "");
	}
}

int upgrade_read(const struct reexec_options *options, Hydra__V1__SealedMonitor **ret_sealed, struct error *err)
{
	auto_message Hydra__V1__SealedMonitor *sealed = NULL;
	int r = replacement_read(options, &hydra__v1__sealed_monitor__descriptor, "a monitor", (ProtobufCMessage **) (void *) &sealed, err);

	if (r == 0)
		r = seal_check(sealed->program_version, sealed->version, sealed->needs, sealed->server, err);
	if (r == 0)
		*ret_sealed = take_ptr(&sealed);
	return r;
}

void upgrade_take_over(struct monitor *self, const Hydra__V1__SealedMonitor *sealed, const struct reexec_options *options)
{
	struct ttrpc_call *call;

	visit_fds(&sealed->base, reexec_keep_not);
	reexec_finish(options);
	shims_unseal(self, sealed);
	ends_unseal(&self->ends, sealed);
	store_unseal(self, sealed);
	shims_look_soon(self); /* for who ended while we were exchanged */
	self->daemon_pid = sealed->daemon_pid;
	self->daemon_restarts = sealed->daemon_restarts;
	self->daemon_started_ns = sealed->daemon_started_ns;
	self->daemon_delay_ns = sealed->daemon_delay_ns;
	note_who_is_up(self);
	if (self->daemon_pid == 0)
		(void) daemon_find(self);
	if (sealed->daemon_in_ns > 0)
		daemon_start_later(self, sealed->daemon_in_ns);
	log_info(options->refused != NULL ? "upgrade refused" : "upgraded", "from=%s to=%s", sealed->program_version, HYDRA_VERSION);
	ttrpc_server_unseal(&self->server, sealed->server, &call);
	seal_answer(call, sealed->program_version, options->refused);
}
