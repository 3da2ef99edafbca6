/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a log from the oldest to the current one, each once and none left out, also while they are rotated under us:
 * a file is known by its inode, and its number only grows.
 */
#pragma once

#include "container.pb-c.h"

#include <stdbool.h>
#include <stdio.h>

struct log_files {
	const char *path;
	FILE *file;      /* NULL before the first */
	unsigned number; /* of file, or smaller by now than its number is; 0: the current one */
};

/* Goes on to the next file (closing the one before); false when there is none (yet), and nothing changed. What was added to the one
 * before must be read after it has a successor: call log_files_has_next() first, then read, then this. */
bool log_files_next(struct log_files *self);
bool log_files_has_next(const struct log_files *self);
/* True when the file is not the current one any more; *ret_format is its format then. */
bool log_files_is_rotated(const struct log_files *self, Hydra__V1__LogFormat *ret_format);
void log_files_close(struct log_files *self);
