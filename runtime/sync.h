/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation between the command and the process it has started inside the container. One packet is one
 * message; end of file means that the other side is gone (or, for the command: that exec has happened).
 */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum message_kind {
	/* to the process inside */
	MESSAGE_MAPPED = 1,  /* its user namespace has its mappings */
	MESSAGE_SETUP,       /* number: its pid outside; descriptors: cgroup tasks files */
	MESSAGE_SECCOMP,     /* number: flags; one descriptor: the compiled program, or none */
	MESSAGE_HOOKS_DONE,
	MESSAGE_COMMIT,      /* everything is written down: go on, nobody watches over you any more */
	/* from it */
	MESSAGE_WANTS_HOOKS,
	MESSAGE_LISTENER,    /* one descriptor: seccomp notifications */
	MESSAGE_READY,       /* only the start is missing */
	MESSAGE_FAILED,      /* text: why */
};

struct message {
	enum message_kind kind;
	int32_t number;
	char text[sizeof(((struct error *) 0)->message)];
};

int sync_send(int fd, enum message_kind kind, int number, const int *fds, size_t count, struct error *err);
/* Never fails: there is nobody else to tell. */
void sync_send_failure(int fd, const struct error *failure);

/* Returns 0 and the message, or 1 at end of file. A MESSAGE_FAILED becomes this call's own failure.
 * fds (room for FD_PASS_MAX) may be NULL when none are expected. */
int sync_receive(int fd, struct message *ret_message, int *ret_fds, size_t *ret_count, struct error *err);
/* As sync_receive, but anything else than this kind is an error. */
int sync_expect(int fd, enum message_kind kind, int *ret_number, int *ret_fds, size_t *ret_count, struct error *err);
