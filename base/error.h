/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failure reports.
 *
 * Every function that can fail returns 0 or a negative errno and describes the
 * failure once, where it happens, in the struct error its caller lent it.
 * Nothing is allocated, so reporting cannot fail in turn.
 */
#pragma once

#include <stddef.h>

struct error {
	int code;          /* negative errno, 0 when nothing failed */
	char message[480]; /* "start container 'web': open cgroup: Permission denied" */
};

#define ERROR_NONE ((struct error){.code = 0})

/* Record a failed system call: "ACTION: TEXT OF ERRNO". Returns -errno_value. */
int fail_errno(struct error *err, int errno_value, const char *action, ...)
	__attribute__((format(printf, 3, 4), cold));

/* Record a failure that errno's text would not explain; the message is all there is. Returns -errno_value. */
int fail_because(struct error *err, int errno_value, const char *reason, ...)
	__attribute__((format(printf, 3, 4), cold));

/* Put what the caller was doing in front of the message. Returns err->code. */
int fail_while(struct error *err, const char *doing, ...)
	__attribute__((format(printf, 2, 3), cold));
