/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/report.h"

#include "base/clock.h"
#include "base/owned.h"
#include "runtime/json.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static struct {
	bool is_on;
	bool is_json;
	const char *path;
	int fd; /* 0: not open yet; the first message comes when inherited descriptors have been closed */
} debug;

static char *json_line(const char *level, const char *message)
{
	auto_json *json = json_object_new_object();
	char time[CLOCK_TEXT_SIZE];

	clock_format(clock_realtime_ns(), time);
	json_add_string(json, "level", level);
	json_add_string(json, "msg", message);
	json_add_string(json, "time", time);
	return json_text(json, false);
}

void report_line(int fd, bool is_json, const char *level, const char *message)
{
	auto_free char *json = is_json ? json_line(level, message) : NULL;

	if (is_json)
		(void) dprintf(fd, "%s\n", json);
	else
		(void) dprintf(fd, "level=%s msg=\"%s\"\n", level, message);
}

void report_debug_begin(const char *path, bool is_json)
{
	debug.is_on = true;
	debug.is_json = is_json;
	debug.path = path;
}

void report_debug(const char *format, ...)
{
	char message[600];
	va_list args;

	if (!debug.is_on)
		return;
	if (debug.fd == 0)
		debug.fd = debug.path != NULL ? open(debug.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : STDERR_FILENO;
	va_start(args, format);
	(void) vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (debug.fd > 0)
		report_line(debug.fd, debug.is_json, "debug", message);
}
