/* SPDX-License-Identifier: Apache-2.0 */
/*
 * $NOTIFY_SOCKET: a service manager waits until the container's program says that it is ready (sd_notify(3)).
 *
 * The manager listens to the command only. So the program gets a socket of its own, $NOTIFY_SOCKET/notify in the container as with
 * crun, and of what it says READY=1 is handed on, and nothing else: a container is not to store descriptors with the manager, or to name another
 * main process. `create` prepares it; `run` and `start` listen.
 */
#pragma once

#include "base/error.h"
#include "runtime/container.h"
#include "runtime/spec.h"

#include <sys/types.h>

/* Adds the folder of the socket to the container's mounts, and its variable to the environment. Nothing without a manager. */
int notify_socket_add(struct spec *spec, const struct container *container, struct error *err);
/* The same for a container that comes back: it may have been created for a manager that is not there now, and has the folder then. */
int notify_socket_add_again(struct spec *spec, const struct container *container, struct error *err);
/* Makes the socket, before the program runs. FD_NONE: there is no manager, or was none when the container was created. */
int notify_socket_open(const struct container *container, int *ret_fd, struct error *err);
/* One message, if there is one. True: it said READY=1, which has been handed on. */
bool notify_socket_take(int fd);
/* Until the program is ready or init has ended; then tells the manager which process is the main one, as nobody stays with it. */
int notify_socket_await(int fd, pid_t init, struct error *err);
