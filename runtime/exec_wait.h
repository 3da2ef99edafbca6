/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting until somebody opens a named pipe of the host for reading, from where the host can no longer be seen.
 *
 * Whoever waits is a process of the container, and what it has open others there may be able to take from it: that is no more than the
 * writing end and a descriptor that tells of openings.
 */
#pragma once

#include "base/error.h"

struct exec_wait {
	int writer_fd;
	int notify_fd;
};

#define EXEC_WAIT_NONE ((struct exec_wait){-1, -1})

int exec_wait_open(struct exec_wait *self, const char *path, struct error *err);
/* The reader then sees the end of the file. */
int exec_wait_for_reader(struct exec_wait *self, struct error *err);
void exec_wait_close(struct exec_wait *self);
