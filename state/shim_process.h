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

/* *ret_pidfd may be NULL. adopt: take over what the record says is running. The shim is a session of its own. */
int shim_process_start(const char *root, const char *namespace, const char *id, bool adopt, pid_t *ret_pid, int *ret_pidfd,
		       struct error *err);

/* Connects to its socket; -ENOENT, -ECONNREFUSED: no shim runs. */
int shim_process_connect(const char *root, const char *namespace, const char *id, int *ret_fd, struct error *err);
/* The same, non-blocking; -EAGAIN: it is there, and has not taken others for a while. */
int shim_process_connect_now(const char *root, const char *namespace, const char *id, int *ret_fd, struct error *err);
