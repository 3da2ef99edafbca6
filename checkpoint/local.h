/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation inside the target host: between the restore process (child of the shim) and the receive worker
 * over "handoff.sock" in the worker's folder. Fixed-size messages; end of file means the other side is dead.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define LOCAL_SOCKET "handoff.sock"

enum local_kind {
	LOCAL_HELLO = 1,   /* restore -> worker; carries the shim's keeper socket when there is one */
	LOCAL_START,       /* worker -> restore: the images are complete; text: their folder; value 1: they have all memory, too */
	LOCAL_PREPARED,    /* restore -> worker: tasks exist, not running; value: init's pid */
	LOCAL_GO,          /* worker -> restore: let them run */
	LOCAL_VETO,        /* worker -> restore: kill them */
	LOCAL_RUNNING,     /* restore -> worker: they run; text: the host's end of their network pair */
	LOCAL_FAILED,      /* restore -> worker: nothing runs, text says why */
	LOCAL_RESUME,      /* a later connection's worker -> worker: carries a socket with the source behind it; value: what it can */
	LOCAL_FAULTS,      /* the same, for what tasks wait for */
	LOCAL_ASKED,       /* -> worker: the source asks over another connection what became of it: the first one is of no use any more */
	LOCAL_LOST,        /* -> worker: the source's memory is gone for good; value: enum local_loss */
	LOCAL_MOUNT,       /* worker -> restore, before START: carries a file system (checkpoint/carried.h), in their order */
};

enum local_loss {
	LOSS_OF_SOURCE,    /* it says so itself, and needs to be told nothing more */
	LOSS_DECIDED,      /* an administrator here does */
	LOSS_OF_COPY,      /* an administrator here drops the copy: its tasks are killed, whatever the source wished */
};

struct local_message {
	uint32_t kind;
	int32_t value;
	char text[248];
};

/* The fate of the tasks, between the commit and their first instruction: who restores them claims "resumed PID START" before CRIU lets them run, and
 * who finds that nobody will ever do that claims "aborted". The first one wins. folder: the worker's. False: somebody else was first, or
 * the folder is gone. */
bool local_claim(const char *folder, const char *fate);

int local_send(int fd, enum local_kind kind, int value, const char *text, int passed_fd, struct error *err);
/* Blocks for a whole message. *ret_fd is FD_NONE mostly. -EPIPE: the other side is gone. */
int local_receive(int fd, struct local_message *ret_message, int *ret_fd, struct error *err);
