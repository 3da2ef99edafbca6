/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving TCP connections back to their owners after an aborted dump.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* Switches TCP_REPAIR off on every TCP socket of init and its descendants. Call while they are still frozen: a task
 * that runs with a socket in repair mode sees errors. Returns the number of sockets, or negative errno. */
int tcp_repair_off(pid_t init, struct error *err);
