/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client attached to a process: stream frames (proto/stream.h) on the connection that called Attach.
 *
 * Nothing of it is lost with a shim that is killed: the monitor keeps its connection, output waits for it in the process's feed
 * (shim/feed.h), it writes input itself into the process's pipe or terminal, whose end it got with the answer to Attach, and its
 * frames are looked at, acted upon, and only then taken from the connection: acting twice upon one of them changes nothing.
 */
#pragma once

#include "proto/stream.h"
#include "seal.pb-c.h"
#include "shim/process.h"

struct client;

/* A client that is to be told that it has joined: its connection, still the caller's, is kept from here on. */
int client_join(struct client **ret_self, struct process *process, int connection_fd, bool may_write, struct error *err);
/* It was told. Takes fd, which may be FD_NONE: it is gone; then self is gone as well. */
void client_begin(struct client *self, int fd);
void client_free(struct client *self);

/* Output of the process to all its clients. position: how much it has written altogether with this. */
void clients_send(struct process *process, enum stream_type type, const uint8_t *data, size_t size, uint64_t position);
/* Moves output from a pipe to the clients, of which there are some: how much, 0 at the end, or -errno. */
ssize_t clients_take(struct process *process, int pipe_fd, enum stream_type type);
/* True when one that must get everything is too far behind: the process's output is to wait. */
bool clients_are_behind(const struct process *process);
/* True when one has not got all there is for it. */
bool clients_have_bytes_waiting(const struct process *process);
/* The exit record, then the end; clients go when they have read it. */
void clients_end(struct process *process);
/* The process reads its input again. */
void clients_resume_input(struct process *process);

/* A successor: what the monitor kept, name as in clients_name(). Takes fd. */
void clients_keep(struct process *process, int place, int fd);
void clients_keep_feed(struct process *process, int fd);
/* All of it is there: goes on. newest: output that the clients may not have yet, up to position. */
void clients_go_on(struct process *process, enum stream_type type, const uint8_t *newest, size_t size, uint64_t position);
/* The connection is one of theirs. */
bool clients_have(const struct process *process, int fd);
/* What the monitor keeps is deposited again. */
void clients_deposit(struct process *process);

/* For and from another binary (shim/upgrade.c). False: no memory. */
bool clients_seal(const struct process *process, Hydra__V1__SealedProcess *sealed);
void clients_unseal(struct process *process, const Hydra__V1__SealedProcess *sealed);
