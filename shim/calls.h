/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections and calls that outlive their shim: the monitor keeps each connection, and a file that only memory holds has every
 * request from before it is taken from its socket until after it is answered. A successor answers what is there: nobody who
 * asked is hung up on, and nothing is done twice, as a request tells whether it was begun.
 *
 * A request that arrives in pieces is kept piece by piece.
 *
 * One thing breaks a connection when the shim is killed: an answer of which the client has read only a part, because it was larger than
 * the socket takes.
 */
#pragma once

#include "base/error.h"
#include "seal.pb-c.h"

struct shim;

/* From here on; fd: the file of a binary before us, or FD_NONE. */
void calls_init(struct shim *shim, int fd);
/* A predecessor's connection, by its number; and its file. Both are taken. */
void calls_keep_connection(struct shim *shim, unsigned number, int fd);
void calls_keep_file(struct shim *shim, int fd);
/* Answers, or goes on to, what the predecessor left. */
void calls_go_on(struct shim *shim);
/* Everything of it is deposited again. */
void calls_deposit(struct shim *shim);
/* 0: there is none. */
int calls_fd(const struct shim *shim);
