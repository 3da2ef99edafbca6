/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *log_program = "";
static enum log_level log_most_detailed = LOG_INFO;
static bool log_to_journal;

static const char *level_name(enum log_level level)
{
	return level <= LOG_ERROR ? "error" : level == LOG_WARNING ? "warning" : level == LOG_INFO ? "info" : "debug";
}

void log_open(const char *program, enum log_level most_detailed)
{
	log_program = program;
	log_most_detailed = most_detailed;
	log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
	char line[1024];
	va_list args;
	int size;

	if (level > log_most_detailed)
		return;
	size = log_to_journal ? snprintf(line, sizeof(line), "<%d>%s", level, event)
			      : snprintf(line, sizeof(line), "%s: %s: %s", log_program, level_name(level), event);
	if (format != NULL && size > 0 && (size_t) size < sizeof(line) - 2) {
		line[size++] = ' ';
		va_start(args, format);
		size += vsnprintf(line + size, sizeof(line) - (size_t) size - 1, format, args);
		va_end(args);
	}
	if (size < 0)
		return;
	if ((size_t) size > sizeof(line) - 2)
		size = sizeof(line) - 2;
	line[size++] = '\n';
	(void) !write(STDERR_FILENO, line, (size_t) size);
}
