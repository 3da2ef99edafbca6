/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_seal.h"

#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_connection.h"
#include "shim.pb-c.h"
#include "ttrpc.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A copy of two parts in a row. */
static bool set_bytes(ProtobufCBinaryData *self, const void *first, size_t first_size, const void *second, size_t second_size)
{
	self->data = malloc(first_size + second_size + 1);
	if (self->data == NULL)
		return false;
	self->len = first_size + second_size;
	if (first_size > 0)
		memcpy(self->data, first, first_size);
	if (second_size > 0)
		memcpy(self->data + first_size, second, second_size);
	return true;
}

static bool seal_input(Hydra__V1__SealedConnection *sealed, const struct ttrpc_reader *reader)
{
	if (!reader->has_header)
		return set_bytes(&sealed->input, reader->header_bytes, reader->filled, NULL, 0);
	return set_bytes(&sealed->input, reader->header_bytes, TTRPC_HEADER_SIZE, reader->data, reader->filled);
}

static Hydra__V1__SealedCall *seal_call(const struct ttrpc_call *call)
{
	Hydra__V1__SealedCall *sealed = malloc(sizeof(*sealed));

	if (sealed == NULL)
		return NULL;
	hydra__v1__sealed_call__init(sealed);
	sealed->stream_id = call->stream_id;
	sealed->was_begun = call->was_begun;
	sealed->kept_at = call->kept_at;
	if (!set_bytes(&sealed->request, call->request, call->request_size, NULL, 0)) {
		message_free(sealed);
		return NULL;
	}
	return sealed;
}

static bool seal_calls(Hydra__V1__SealedConnection *sealed, const struct ttrpc_connection *connection, const struct ttrpc_call *upgrade)
{
	size_t count = 0;

	for (const struct ttrpc_call *call = connection->calls; call != NULL; call = call->next)
		count++;
	sealed->calls = calloc(count + 1, sizeof(*sealed->calls));
	if (sealed->calls == NULL)
		return false;
	for (const struct ttrpc_call *call = connection->calls; call != NULL; call = call->next) {
		sealed->calls[sealed->n_calls] = seal_call(call);
		if (sealed->calls[sealed->n_calls] == NULL)
			return false;
		sealed->calls[sealed->n_calls++]->is_upgrade = call == upgrade;
	}
	return true;
}

static Hydra__V1__SealedConnection *seal_connection(const struct ttrpc_connection *connection, const struct ttrpc_call *upgrade)
{
	auto_message Hydra__V1__SealedConnection *sealed = malloc(sizeof(*sealed));

	if (sealed == NULL)
		return NULL;
	hydra__v1__sealed_connection__init(sealed);
	sealed->fd = connection->source.fd;
	sealed->number = connection->number;
	sealed->arriving_at = connection->arriving_at;
	if (!seal_input(sealed, &connection->reader) ||
	    !set_bytes(&sealed->output, connection->output + connection->output_sent,
		       connection->output_size - connection->output_sent, NULL, 0) ||
	    !seal_calls(sealed, connection, upgrade))
		return NULL;
	return take_ptr(&sealed);
}

Hydra__V1__SealedServer *ttrpc_server_seal(const struct ttrpc_server *self, const struct ttrpc_call *upgrade)
{
	auto_message Hydra__V1__SealedServer *sealed = malloc(sizeof(*sealed));

	if (sealed == NULL)
		return NULL;
	hydra__v1__sealed_server__init(sealed);
	sealed->listen_fd = self->listener.fd;
	sealed->connections = calloc(self->connection_count + 1, sizeof(*sealed->connections));
	if (sealed->connections == NULL)
		return NULL;
	for (const struct ttrpc_connection *connection = self->connections; connection != NULL; connection = connection->next) {
		Hydra__V1__SealedConnection *one;

		/* in the middle of a message that is too long: what was thrown away of it can't be handed on */
		if (connection->reader.is_oversized)
			continue;
		one = seal_connection(connection, upgrade);
		if (one == NULL)
			return NULL;
		sealed->connections[sealed->n_connections++] = one;
	}
	return take_ptr(&sealed);
}

void ttrpc_sealed_fds(const Hydra__V1__SealedServer *sealed, void (*visit)(int fd))
{
	visit(sealed->listen_fd);
	for (size_t i = 0; i < sealed->n_connections; i++)
		visit(sealed->connections[i]->fd);
}

static struct ttrpc_call *unseal_call(struct ttrpc_connection *connection, const Hydra__V1__SealedCall *sealed)
{
	struct ttrpc_call *call = ttrpc_call_new(connection, sealed->stream_id);

	if (call == NULL)
		return NULL;
	call->request = malloc(sealed->request.len + 1);
	if (call->request != NULL && sealed->request.len > 0)
		memcpy(call->request, sealed->request.data, sealed->request.len);
	call->request_size = call->request != NULL ? sealed->request.len : 0;
	call->was_begun = sealed->was_begun;
	call->kept_at = sealed->kept_at;
	ttrpc_call_keep(call);
	return call;
}

static void unseal_connection(struct ttrpc_server *self, const Hydra__V1__SealedConnection *sealed, struct ttrpc_call **ret_upgrade)
{
	struct ttrpc_connection *connection;
	struct error ignored;
	bool goes_on;

	if (ttrpc_connection_open(&connection, self, sealed->fd, sealed->number, &ignored) < 0)
		return;
	connection->is_reading = true;
	goes_on = sealed->output.len == 0 || ttrpc_connection_send(connection, sealed->output.data, sealed->output.len);
	for (size_t i = 0; i < sealed->n_calls && goes_on; i++) {
		struct ttrpc_call *call = unseal_call(connection, sealed->calls[i]);

		if (call != NULL && sealed->calls[i]->is_upgrade)
			*ret_upgrade = call;
		else if (call != NULL)
			ttrpc_call_dispatch(call);
	}
	connection->arriving_at = self->keeper != NULL ? sealed->arriving_at : 0;
	connection->arrived = sealed->input.len;
	goes_on = goes_on && ttrpc_connection_push(connection, sealed->input.data, sealed->input.len);
	connection->is_reading = false;
	if (connection->is_reading_pieces && connection->arriving_at == 0)
		ttrpc_connection_keep(connection, false);
	if (!goes_on || connection->is_closing)
		ttrpc_connection_close(connection);
}

void ttrpc_server_unseal(struct ttrpc_server *self, const Hydra__V1__SealedServer *sealed, struct ttrpc_call **ret_upgrade)
{
	*ret_upgrade = NULL;
	for (size_t i = 0; i < sealed->n_connections; i++)
		unseal_connection(self, sealed->connections[i], ret_upgrade);
}

int seal_check(const char *program_version, uint32_t version, uint64_t needs, const Hydra__V1__SealedServer *server, struct error *err)
{
	if (version != SEAL_VERSION)
		return fail_because(err, EPROTO, "the state of version %s has format %u; version " HYDRA_VERSION " knows format %u",
				    program_version, version, SEAL_VERSION);
	if ((needs & ~SEAL_KNOWN) != 0)
		return fail_because(err, EPROTO, "the state of version %s needs what version " HYDRA_VERSION " does not know (bits %#llx)",
				    program_version, (unsigned long long) (needs & ~SEAL_KNOWN));
	return server != NULL ? 0 : fail_because(err, EPROTO, "the state has no server");
}

void seal_answer(struct ttrpc_call *upgrade, const char *old_version, const char *refused)
{
	Hydra__V1__UpgradeResponse response = HYDRA__V1__UPGRADE_RESPONSE__INIT;
	char version[] = HYDRA_VERSION;

	if (upgrade == NULL)
		return;
	response.old_version = (char *) (uintptr_t) old_version;
	response.new_version = version;
	if (refused != NULL)
		ttrpc_refuse(upgrade, TTRPC_FAILED_PRECONDITION, "the new binary does not take over, the old one goes on: %s", refused);
	else
		ttrpc_reply(upgrade, &response.base);
}
