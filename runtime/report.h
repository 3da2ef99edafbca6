/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log file of --log, and what --debug adds to it (or to standard error): the steps, for people who look for a fault.
 */
#pragma once

#include <stdbool.h>

/* One line, in the format of --log-format. */
void report_line(int fd, bool is_json, const char *level, const char *message);

/* path NULL: standard error. What it points to stays the caller's. */
void report_debug_begin(const char *path, bool is_json);
/* Also in a process that is made later, wherever its root is, until it executes something. */
void report_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
