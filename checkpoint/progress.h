/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker tells hydrad: one JSON object a line.
 */
#pragma once

#include "checkpoint/phases.h"

#include <stdint.h>

struct progress {
	int fd; /* FD_NONE: nobody listens; never waited for */
	const char *phase;
	uint64_t bytes_done, bytes_total, bytes_sent, pages_done, pages_total, faults;
	uint64_t phase_began_ns, told_ns;
};

/* Begins a phase, says so at once, and passes the phase's point. message and extra may be NULL; extra is more members of the object
 * (","key":value..."). */
void progress_phase(struct progress *self, enum migration_phase phase, const char *message, const char *extra);
/* Says more members of the object in between; no point is passed. */
void progress_tell(struct progress *self, const char *extra);
/* Says it when the last time is long enough ago. */
void progress_update(struct progress *self);
/* text as a JSON string with quotes; the caller frees. */
char *progress_quote(const char *text);
