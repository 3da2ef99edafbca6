/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fd store of hydra-monitor: what a shim deposits there outlives it, and its successor takes it up.
 *
 * <root>/store.sock, SOCK_SEQPACKET, one message a request, words separated by NUL:
 *
 *   put NAMESPACE ID NAME   with one descriptor; replaces an older one of this name
 *   drop NAMESPACE ID NAME  forgets it; NAME "*" forgets all of the container
 *   only NAMESPACE ID       forgets what of the container did not come through this connection
 *   take NAMESPACE ID       answered by one message "NAME" with a descriptor for each, then by an empty one
 *   hello NAMESPACE ID NS   a shim that had a monitor before: it was lost at CLOCK_BOOTTIME NS; 0: it had none
 *
 *   ended NAMESPACE ID END  a successor: how did that child of its predecessor end? Answered by
 *   status NAMESPACE ID END
 *
 * The monitor says, without being asked, to whoever deposits:
 *
 *   refused NAMESPACE ID WHY   what was put last is not kept
 *   room                       what was refused may be put again
 *
 * Nothing else is answered: a shim never waits for the monitor, except a successor for what it takes.
 *
 * END is "PID START STATUS USER SYSTEM RSS": field 22 of /proc/PID/stat, the status as wait(2) gives it or -1 for unknown,
 * microseconds and KiB.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STORE_MESSAGE_MAX 512
/* Under this name the socket that a shim listens at: the monitor gives it to the successor as it starts it. */
#define STORE_LISTENER    "l"

struct store_request {
	char text[STORE_MESSAGE_MAX];
	const char *verb, *namespace, *id, *name; /* into text; name "" when there is none */
};

#define STORE_END_UNKNOWN (-1)
#define STORE_END_SIZE    128

struct store_end {
	pid_t pid;
	int wait_status;
	uint64_t start_time;
	uint64_t user_us, system_us, max_rss_kib;
};

void store_end_print(const struct store_end *self, char ret_text[static STORE_END_SIZE]);
bool store_end_parse(const char *text, struct store_end *ret_end);

/* Splits a message, of either side, of size bytes that was received into self->text; false: it is none of the above. */
bool store_request_parse(struct store_request *self, size_t size);

/* *ret_fd is non-blocking. -ENOENT, -ECONNREFUSED: no monitor runs. */
int store_connect(const char *root, int *ret_fd, struct error *err);
/* fd: FD_NONE but for put; name: NULL, none. Returns 0 or -errno; never waits. */
int store_send(int store_fd, const char *verb, const char *namespace, const char *id, const char *name, int fd);

typedef void store_visitor(const char *name, int fd, void *context);
/* Asks for all that is kept of the container; visit owns each descriptor. Waits at most timeout_ms for each. */
int store_take(int store_fd, const char *namespace, const char *id, int timeout_ms, store_visitor *visit, void *context,
	       struct error *err);
