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

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE(name) HYDRA__V1__LEDGER_STATE__LEDGER_##name

static void forget(struct monitor *self)
{
	event_loop_disarm(&self->loop, &self->upgrade_timer);
	free(self->upgrade_path);
	self->upgrade_path = NULL;
	self->upgrade = NULL;
}

static void abandoned(struct ttrpc_call *call)
{
	forget(call->server->context);
	ttrpc_reply_empty(call);
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
	sealed->server = ttrpc_server_seal(&self->server, self->upgrade);
	if (sealed->server == NULL || !store_seal(self, sealed) || !shims_seal(self, sealed) || !ends_seal(&self->ends, sealed))
		return NULL;
	return take_ptr(&sealed);
}

static void visit_fds(const Hydra__V1__SealedMonitor *sealed, void (*visit)(int fd))
{
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

/* Returns only when it did not work. */
static int execute(struct monitor *self, struct error *err)
{
	auto_message Hydra__V1__SealedMonitor *sealed = seal(self);
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
	struct monitor *self = timer->context;
	struct ttrpc_call *call = self->upgrade;
	struct error err;

	if (call == NULL)
		return;
	(void) execute(self, &err);
	log_error("upgrade failed", "error=\"%s\"", err.message);
	forget(self);
	call->on_abandoned = NULL;
	ttrpc_refuse_error(call, &err);
}

void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__UpgradeRequest *request = (const void *) message;
	struct monitor *self = call->server->context;
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
	self->upgrade_timer = (struct event_timer){.handle = upgrade_now, .context = self};
	event_loop_arm(&self->loop, &self->upgrade_timer, 0);
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
	auto_free uint8_t *data = NULL;
	auto_message Hydra__V1__SealedMonitor *sealed = NULL;
	size_t size = 0;
	int r = reexec_read(options, &data, &size, err);

	if (r < 0)
		return r;
	sealed = (Hydra__V1__SealedMonitor *) (void *) message_decode(&hydra__v1__sealed_monitor__descriptor, data, size);
	if (sealed == NULL)
		return fail_because(err, EPROTO, "the state is not one of a monitor");
	r = seal_check(sealed->program_version, sealed->version, sealed->needs, sealed->server, err);
	if (r == 0)
		*ret_sealed = take_ptr(&sealed);
	return r;
}

void upgrade_take_over(struct monitor *self, const Hydra__V1__SealedMonitor *sealed, const struct reexec_options *options)
{
	struct ttrpc_call *call;

	visit_fds(sealed, reexec_keep_not);
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
