/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ttrpc server's connections from one binary to another under the same pid (proto/seal.proto): clients see a pause.
 *
 * Calls that were taken and not answered are handled again by the new binary; was_begun says which of them may have had
 * their effects. A shim's successor goes on with a killed shim's calls in the same way (shim/calls.c).
 */
#pragma once

#include "proto/ttrpc_server.h"
#include "seal.pb-c.h"

#define SEAL_VERSION 1U
/* Bits of `needs`, and all of them that we understand. */
#define SEAL_FEEDS   1ULL /* bytes for a client are only in its process's feed */
#define SEAL_BRIDGES 2ULL /* output of a terminal is only in its bridge */
#define SEAL_KNOWN   (SEAL_FEEDS | SEAL_BRIDGES)

/* Pure: -EPROTO says why a state of that version, with these needs, can't be taken. */
int seal_check(const char *program_version, uint32_t version, uint64_t needs, const Hydra__V1__SealedServer *server, struct error *err);

/* Only when no call is being handled. upgrade: the call that asked for it, marked. The server is not changed.
 * Free with message_free(); NULL: no memory. */
Hydra__V1__SealedServer *ttrpc_server_seal(const struct ttrpc_server *self, const struct ttrpc_call *upgrade);

/* Calls visit for each descriptor of the sealed server. */
void ttrpc_sealed_fds(const Hydra__V1__SealedServer *sealed, void (*visit)(int fd));

/* Answers who asked for the upgrade; refused: why another binary did not take over, NULL when we are the new one. */
void seal_answer(struct ttrpc_call *upgrade, const char *old_version, const char *refused);

/* Takes over the connections and handles their calls again. *ret_upgrade: the one that asked, to be answered by the
 * caller; NULL when its client is gone. Connections that can't be taken are closed. */
void ttrpc_server_unseal(struct ttrpc_server *self, const Hydra__V1__SealedServer *sealed, struct ttrpc_call **ret_upgrade);
