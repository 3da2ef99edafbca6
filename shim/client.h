/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client attached to a process: stream frames (proto/stream.h) on the connection that called Attach.
 */
#pragma once

#include "proto/stream.h"
#include "seal.pb-c.h"
#include "shim/process.h"

/* Takes fd. rest is what the client sent behind its request. */
int client_new(struct process *process, int fd, bool may_write, const uint8_t *rest, size_t rest_size, struct error *err);
void client_free(struct client *self);

/* Output of the process to all its clients. */
void clients_send(struct process *process, enum stream_type type, const uint8_t *data, size_t size);
/* True when one that must get everything is too far behind: the process's output is to wait. */
bool clients_are_behind(const struct process *process);
/* The exit record, then the end; clients go when they have read it. */
void clients_end(struct process *process);
/* The process reads its input again. */
void clients_resume_input(struct process *process);

/* For and from another binary (shim/upgrade.c). False: no memory. */
bool clients_seal(const struct process *process, Hydra__V1__SealedProcess *sealed);
void clients_unseal(struct process *process, const Hydra__V1__SealedProcess *sealed);
