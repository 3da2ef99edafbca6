/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for people and journald. One line, one event, past tense; details as key=value fields.
 * Only programs log; base/, state/ and proto/ report through struct error.
 */
#pragma once

enum log_level {
	LOG_ERROR = 3, /* syslog's numbers: journald reads them as <N> prefixes */
	LOG_WARNING = 4,
	LOG_INFO = 6,
	LOG_DEBUG = 7,
};

/* program is put in front when stderr is a terminal or a file; journald gets the priority prefix. */
void log_open(const char *program, enum log_level most_detailed);
/* The level that the first line of the file log-level in $HYDRA_CONFIG (default /etc/hydra) names: error, warning, info or
 * debug. Without such a file it stays as log_open() was told; another word changes nothing and is logged. */
void log_level_load(void);
/* format may be NULL: no fields. Never blocks for long: a full stderr loses the line. */
void log_write(enum log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_error(event, ...)   log_write(LOG_ERROR, event, __VA_ARGS__)
#define log_warning(event, ...) log_write(LOG_WARNING, event, __VA_ARGS__)
#define log_info(event, ...)    log_write(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)   log_write(LOG_DEBUG, event, __VA_ARGS__)
