/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another binary takes the shim's place: same pid, so the container's processes stay its children and nothing of what
 * is connected or deposited is cut. It waits for the end of the operation under way.
 */
#pragma once

#include "base/reexec.h"
#include "proto/ttrpc_server.h"
#include "seal.pb-c.h"

struct shim;

/* hydra.v1.Shim.Upgrade. */
void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message);
/* Something came to its end: may be the time for an upgrade that waits. */
void upgrade_consider(struct shim *self);

/* seal.c: everything of the shim that is not on disk. NULL: no memory. */
Hydra__V1__SealedShim *shim_seal(const struct shim *self);
/* Calls visit for each descriptor that must survive. */
void shim_sealed_fds(const Hydra__V1__SealedShim *sealed, void (*visit)(int fd));

/* unseal.c: becomes the shim that the state describes. On failure nothing was changed that the binary before needs. */
int shim_unseal(struct shim *self, const char *root, const char *namespace, const char *id, const struct reexec_options *options,
		struct error *err);
