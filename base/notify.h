/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager (systemd) is told, by the datagrams that sd_notify(3) describes, and what it passes to us.
 * No library is loaded for it. Without $NOTIFY_SOCKET nobody is told anything, and that is no error.
 */
#pragma once

#include "base/event_loop.h"

#include <stdbool.h>

/* True when there is somebody to tell. */
bool notify_is_heard(void);
/* Lines as "READY=1"; waits until the manager takes them. */
void notify(const char *lines);
/* The same with a descriptor (FD_NONE: none) and without waiting: -EAGAIN, it was not taken and may be told again. */
int notify_now(const char *lines, int fd);
/* Type=notify-reload: what was asked for by SIGHUP begins. It ends with READY=1. */
void notify_reloading(void);

/* $LISTEN_FDS: each descriptor that was passed to us, CLOEXEC and visit's to close, with its name ("" when it has none).
 * Once: our children and the binary after us do not see them. */
typedef void notify_visitor(int fd, const char *name, void *context);
void notify_take_fds(notify_visitor *visit, void *context);

/* $WATCHDOG_USEC: tells from the loop that it goes round, twice in that time. Without it, no timer runs. */
struct watchdog {
	struct event_loop *loop;
	struct event_timer timer;
	uint64_t interval_ns;
};

void watchdog_begin(struct watchdog *self, struct event_loop *loop);
