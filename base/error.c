/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *errno_text(int errno_value)
{
	const char *text = strerrordesc_np(errno_value);

	return text != NULL ? text : "unknown error";
}

int fail_errno(struct error *err, int errno_value, const char *action, ...)
{
	va_list args;
	char what[400];

	assert(errno_value > 0);

	va_start(args, action);
	(void) vsnprintf(what, sizeof(what), action, args);
	va_end(args);

	(void) snprintf(err->message, sizeof(err->message), "%s: %s", what,
			errno_text(errno_value));
	err->code = -errno_value;
	return err->code;
}

int fail_because(struct error *err, int errno_value, const char *reason, ...)
{
	va_list args;

	assert(errno_value > 0);

	va_start(args, reason);
	(void) vsnprintf(err->message, sizeof(err->message), reason, args);
	va_end(args);

	err->code = -errno_value;
	return err->code;
}

int fail_while(struct error *err, const char *doing, ...)
{
	va_list args;
	char outer[128];
	char inner[sizeof(err->message)];

	va_start(args, doing);
	(void) vsnprintf(outer, sizeof(outer), doing, args);
	va_end(args);

	memcpy(inner, err->message, sizeof(inner));
	(void) snprintf(err->message, sizeof(err->message), "%s: %.*s", outer, 340, inner);
	return err->code;
}
