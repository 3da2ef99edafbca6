/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of a log file, in the format of that file, as the application wrote it.
 */
#pragma once

#include "container.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

struct log_printer {
	Hydra__V1__LogFormat format;
	bool with_time;
	bool is_continued; /* the last one printed was a part */
};

/* Prints one line of the file, its end included. */
void log_line_print(struct log_printer *self, const char *line, size_t size);
/* True when a line of the application ends in this one of the file: it is not a part with more to come. */
bool log_line_is_final(const struct log_printer *self, const char *line, size_t size);
/* What has no end yet is a line that is being written; of raw logs that can't be told. */
bool log_line_may_have_no_end(const struct log_printer *self);
