/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a container in CRI format, with rotation:
 *
 *   2016-10-06T00:17:09.669794202Z stdout F message
 *
 * F ends a line, P is a part of one. Nothing is kept back in memory: what the application wrote
 * is in the file when log_file_write() returns. A log that can't be written loses what could not be
 * written, counts it, and says so in the log when it can be written again; the application goes on.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_file {
	int fd;
	char *path;
	uint64_t size;
	uint64_t max_size;
	uint32_t max_files;
	uint64_t written; /* bytes of the application, in all */
	uint64_t dropped;
	bool must_mark_gap;
};

#define LOG_MAX_SIZE_DEFAULT  (16ULL << 20)
#define LOG_MAX_SIZE_LEAST    512ULL
#define LOG_MAX_FILES_DEFAULT 5

/* Makes the file's folder when missing. max_size and max_files: 0 means the default. */
int log_file_open(struct log_file **ret_self, const char *path, uint64_t max_size, uint32_t max_files, struct error *err);
void log_file_free(struct log_file *self);
/* stream: "stdout" or "stderr". */
void log_file_write(struct log_file *self, const char *stream, const uint8_t *data, size_t size);

/* Pure: one chunk as CRI lines into out; *ret_taken of size bytes fit. Returns the bytes in out. */
size_t log_format_cri(uint64_t time_ns, const char *stream, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
		      size_t *ret_taken);
