/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting the shim of a container whose run directory exists.
 *
 * Its socket is bound before it runs, so that whoever connects from now on waits instead of failing.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* The shim is a session of its own. *ret_pidfd may be NULL. */
int shim_process_start(const char *root, const char *namespace, const char *id, pid_t *ret_pid, int *ret_pidfd, struct error *err);
/* The same by the monitor, which replaces it should it die; without a monitor by us. */
int shim_process_launch(const char *root, const char *namespace, const char *id, struct error *err);
/* One that takes over what the record says is running. listen_fd: the socket of the one before it, on which clients may be
 * waiting already, the caller's; FD_NONE: that is lost. */
int shim_process_succeed(const char *root, const char *namespace, const char *id, int listen_fd, pid_t *ret_pid, struct error *err);

/* Connects to its socket; -ENOENT, -ECONNREFUSED: no shim runs. */
int shim_process_connect(const char *root, const char *namespace, const char *id, int *ret_fd, struct error *err);
/* The same, non-blocking; -EAGAIN: it is there, and has not taken others for a while. */
int shim_process_connect_now(const char *root, const char *namespace, const char *id, int *ret_fd, struct error *err);
