/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said about a container's log (LogConfig), by name; and how its files are called.
 *
 * The current file is the path itself. Rotated ones are path.1 (the youngest), path.2, ..., followed by a suffix that tells
 * their format, so that each file is read as it was written.
 */
#pragma once

#include "container.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

#define LOG_MAX_SIZE_DEFAULT   (16ULL << 20)
#define LOG_MAX_SIZE_LEAST     512ULL
#define LOG_MAX_FILES_DEFAULT  5
#define LOG_SPILL_SIZE_DEFAULT (1ULL << 20)
#define LOG_SPILL_SIZE_LEAST   (64ULL << 10)
#define LOG_SPILL_SIZE_MOST    (1ULL << 30)

/* "cri", "json-file", "raw", "journald"; "spill", "block", "drop-oldest". False: no such name. */
bool log_format_parse(const char *name, Hydra__V1__LogFormat *ret_format);
bool log_policy_parse(const char *name, Hydra__V1__LogPolicy *ret_policy);

/* Of rotated files; NULL: the format is not written to files. */
const char *log_format_suffix(Hydra__V1__LogFormat format);
/* Those that are. */
extern const Hydra__V1__LogFormat log_file_formats[];
extern const size_t log_file_format_count;

/* path.NUMBER with the format's suffix. False: too long. */
bool log_rotated_path(char *buffer, size_t size, const char *path, unsigned number, Hydra__V1__LogFormat format);
