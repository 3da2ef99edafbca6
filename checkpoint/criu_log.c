/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRIU reports a failure as one bit; the reason is in its log. The first error there is the cause, the later ones
 * are its consequences.
 */
#include "checkpoint/criu_log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#define LOG_MAX (64U << 20)

/* Errors that CRIU logs and then lives with. */
static const char *const harmless[] = {"Can't setup RLIMIT_NOFILE", "can't setup RLIMIT_NOFILE", "rlimit:",
				       "mlock_hint", NULL};

static bool is_harmless(const char *message)
{
	for (size_t i = 0; harmless[i] != NULL; i++) {
		if (strstr(message, harmless[i]) != NULL)
			return true;
	}
	return false;
}

void criu_log_reason(const char *log, char *ret_reason, size_t size)
{
	*ret_reason = '\0';
	for (const char *at = strstr(log, "Error ("); at != NULL; at = strstr(at + 1, "Error (")) {
		const char *end = at + strcspn(at, "\n");
		const char *message = strstr(at, "): ");
		char line[400];

		if (message == NULL || message > end)
			continue;
		message += 3;
		(void) snprintf(line, sizeof(line), "%.*s", (int) (end - message < 390 ? end - message : 390), message);
		if (is_harmless(line))
			continue;
		(void) snprintf(ret_reason, size, "%s", line);
		return;
	}
}

int criu_log_explain(struct error *err, int dir_fd, const char *dir_path, const char *log_name)
{
	struct error ignored;
	auto_free char *log = NULL;
	char reason[300] = "", before[200];

	(void) snprintf(before, sizeof(before), "%.190s", err->message);
	if (file_read(dir_fd, log_name, LOG_MAX, &log, NULL, &ignored) == 0)
		criu_log_reason(log, reason, sizeof(reason));
	if (reason[0] != '\0')
		return fail_because(err, -err->code, "%s: %s", before, reason);
	return fail_because(err, -err->code, "%s (see %s/%s)", before, dir_path, log_name);
}
