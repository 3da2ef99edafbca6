/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process writes, on its way to its attached clients: stream frames (proto/stream.h), written once into a file that
 * only memory holds, and read from there by each client at its own pace.
 *
 * The monitor keeps that file too, and the kernel itself moves the positions in its first page: that of the newest byte in the
 * call that moves bytes from a pipe into it, that of a client in the call that moves them from it to the client's socket. So a
 * shim that is killed at any moment loses no byte and sends none twice, and its successor goes on in the middle of a frame.
 */
#pragma once

#include "base/error.h"
#include "proto/stream.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FEED_CLIENTS_MAX 64
#define FEED_STEP        16384 /* bytes of the process that one frame has at most */

struct feed;

/* fd: of a predecessor's feed, taken when it succeeds; FD_NONE: a new one. -EPROTO: it is none, or one of another version. */
int feed_open(struct feed **ret_self, int fd, struct error *err);
void feed_free(struct feed *self);
/* To be kept by somebody else as well. */
int feed_fd(const struct feed *self);

/* Moves at most FEED_STEP bytes from a pipe into a frame. How many, 0 at the end, or -errno. */
ssize_t feed_take(struct feed *self, int pipe_fd, enum stream_type type);
/* Writes a frame of at most STREAM_DATA_MAX bytes. position: how much the process has written with it, for feed_position().
 * STREAM_EXIT is the last frame: whoever joins later gets that one. */
int feed_append(struct feed *self, enum stream_type type, const uint8_t *data, size_t size, uint64_t position);
/* What feed_append() was told last. */
uint64_t feed_position(const struct feed *self);
void feed_set_position(struct feed *self, uint64_t position);
bool feed_has_ended(const struct feed *self);

/* A place for a client, which gets the frames from now on; -1: there is none left. */
int feed_join(struct feed *self, bool may_write);
/* It was told that it has joined: a successor is to go on with it. */
void feed_confirm(struct feed *self, int place);
bool feed_is_confirmed(const struct feed *self, int place);
bool feed_may_write(const struct feed *self, int place);
void feed_leave(struct feed *self, int place);
/* Frees the places that are not in the mask of 1 << place: a successor knows nobody there. */
void feed_keep_only(struct feed *self, uint64_t places);
/* Sends what the socket takes. 1: the client has everything; 0: it is behind; -errno: it is gone. */
int feed_send(struct feed *self, int place, int socket_fd);
/* Bytes that the client has not got yet. */
uint64_t feed_waiting(const struct feed *self, int place);
