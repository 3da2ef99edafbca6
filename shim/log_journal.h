/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's journal as a log: datagrams to its socket, never waited for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct log_journal {
	int fd; /* connected; FD_NONE: not (any more) */
};

/* -EAGAIN: it is full, and writable when it has room again; other errors: it is not there, or does not take this. */
int log_journal_send(struct log_journal *self, const uint8_t *message, size_t size);
void log_journal_close(struct log_journal *self);
