/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets: listening, connecting, peer credentials, and descriptors as ancillary data.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define FD_PASS_MAX 16

/* Binds and listens at path (replacing a socket nobody listens on), mode 0600, non-blocking, CLOEXEC.
 * Paths longer than sun_path are reached through /proc/self/fd. -EADDRINUSE: somebody answers there. */
int socket_listen(const char *path, int *ret_fd, struct error *err);
/* Blocking, CLOEXEC. -ENOENT or -ECONNREFUSED: nobody is there; -EAGAIN: who is there has not accepted 128 others for seconds. */
int socket_connect(const char *path, int *ret_fd, struct error *err);
/* The same, non-blocking, and never waits for room among those that are not accepted. */
int socket_connect_now(const char *path, int *ret_fd, struct error *err);

/* True when the peer runs as the same user as we do or as root. */
bool socket_peer_is_trusted(int fd);
pid_t socket_peer_pid(int fd);

/* Sends what the socket takes without waiting. Returns how many bytes, possibly 0, or -errno: the peer is gone. */
ssize_t socket_send_now(int socket_fd, const void *data, size_t size);

/* Sends data with descriptors (count may be 0). Returns bytes sent or -errno. */
ssize_t fd_pass_send(int socket_fd, const void *data, size_t size, const int *fds, size_t fd_count);
/* Receives up to size bytes; descriptors are CLOEXEC, *ret_count of them (at most FD_PASS_MAX, which ret_fds must hold).
 * Returns bytes, 0 at end of file, or -errno. */
ssize_t fd_pass_receive(int socket_fd, void *data, size_t size, int *ret_fds, size_t *ret_count);
