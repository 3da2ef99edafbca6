/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a container's log, with rotation by size and count. What it holds is for shim/log_format.h to say.
 *
 * A regular file never says that it would block: a write takes as long as its disk does. That is bounded by what is written at
 * once (shim/output.h), not by us.
 */
#pragma once

#include "base/error.h"
#include "state/log_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct log_file {
	int fd; /* FD_NONE: opened when it is written to */
	char *path;
	Hydra__V1__LogFormat format; /* names the rotated files */
	uint64_t max_size;
	uint32_t max_files;
	ino_t inode;
	uint64_t size;
};

/* Sets path and limits; nothing is opened. 0 means the default. -ENOMEM, -EINVAL: the path is not absolute.
 * Deinit it in any case. */
int log_file_init(struct log_file *self, const Hydra__V1__LogConfig *config);
void log_file_deinit(struct log_file *self);

/* Opens it where it is not; makes it and its folder when they are missing. 0 or -errno, without a report, as all here. */
int log_file_open(struct log_file *self);
/* Makes ready for size further bytes: opens the file, also when somebody deleted it, and rotates it when it would grow beyond
 * its limit. inode and size are the file's then. */
int log_file_prepare(struct log_file *self, size_t size);
/* All or nothing: a part that a full disk let through is taken back. */
int log_file_append(struct log_file *self, const uint8_t *bytes, size_t size);
/* The current file becomes a rotated one, as it is; there may be none. */
int log_file_retire(struct log_file *self);
/* The errors that are the configuration's, not the disk's. */
bool log_file_is_misnamed(int error);
