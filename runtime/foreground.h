/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staying with a process: signals go to it, a terminal is relayed, its exit status becomes ours.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* Before the process is started, so that no signal gets lost: blocks what foreground_attend() passes on. */
void foreground_begin(void);
/* Until pid has exited. terminal_socket_fd brings the terminal's master, notify_fd (notify_socket.h) what is said to a service manager; both may be
 * FD_NONE. */
int foreground_attend(pid_t pid, int terminal_socket_fd, int notify_fd, int *ret_status, struct error *err);
