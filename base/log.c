/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEVEL_FILE_MAX 64

static const char *log_program = "";
static enum log_level log_most_detailed = LOG_INFO;
static bool log_to_journal;

static enum log_level log_level_given = LOG_INFO;

static const struct {
	const char *name;
	enum log_level level;
} levels[] = {{"error", LOG_ERROR}, {"warning", LOG_WARNING}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

static const char *level_name(enum log_level level)
{
	return level <= LOG_ERROR ? "error" : level == LOG_WARNING ? "warning" : level == LOG_INFO ? "info" : "debug";
}

/* The variable is inherited by programs whose standard error is something else. */
static bool is_journal(const char *device_and_inode)
{
	struct stat status;
	char ours[64];

	if (device_and_inode == NULL || fstat(STDERR_FILENO, &status) < 0)
		return false;
	(void) text_fit(ours, sizeof(ours), "%ju:%ju", (uintmax_t) status.st_dev, (uintmax_t) status.st_ino);
	return strcmp(ours, device_and_inode) == 0;
}

void log_open(const char *program, enum log_level most_detailed)
{
	log_program = program;
	log_most_detailed = most_detailed;
	log_level_given = most_detailed;
	log_to_journal = is_journal(getenv("JOURNAL_STREAM"));
}

void log_level_load(void)
{
	const char *folder = getenv("HYDRA_CONFIG");
	auto_free char *path = text_format("%s/log-level", folder != NULL && folder[0] == '/' ? folder : "/etc/hydra");
	auto_free char *word = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, path, LEVEL_FILE_MAX, &word, NULL, &ignored) < 0) {
		log_most_detailed = log_level_given;
		return;
	}
	word[strcspn(word, " \t\n")] = '\0';
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(word, levels[i].name) == 0) {
			log_most_detailed = levels[i].level;
			return;
		}
	}
	log_warning("log level not understood", "file=%s word=\"%.20s\"", path, word);
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
