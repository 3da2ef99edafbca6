/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formats of a container's log. All are pure: bytes in, bytes out, nothing kept.
 *
 *   cri        2016-10-06T00:17:09.669794202Z stdout F message        F ends a line, P is a part of one
 *   json-file  {"log":"message\n","stream":"stdout","time":"..."}     without \n: a part of a line
 *   raw        the bytes
 *   journald   the journal's native protocol, one line a datagram
 *
 * Any byte may come. What is no UTF-8 becomes U+FFFD in JSON, which has no other way; elsewhere it stays what it is.
 */
#pragma once

#include "container.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room that any formatter needs to make progress. */
#define LOG_FORMAT_ROOM 512

struct log_origin {
	uint64_t time_ns;
	bool is_error;    /* stderr */
	bool is_last;     /* nothing will follow: the start of a character is no character */
	const char *id;   /* of the container */
	const char *namespace;
};

/* Formats the beginning of data; *ret_taken bytes of it are in the result. Returns the bytes in out, of which there must be
 * LOG_FORMAT_ROOM at least. Nothing is taken only when data is the start of a character whose end is still to come. */
typedef size_t log_formatter(const struct log_origin *origin, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
			     size_t *ret_taken);

struct log_format {
	Hydra__V1__LogFormat format;
	log_formatter *write;
	bool is_datagram; /* what one call gives is one message to the journal */
	bool needs_line_before_mark; /* a line of our own would continue one of the application's */
};

/* Unknown ones and the default are CRI. */
const struct log_format *log_format_find(Hydra__V1__LogFormat format);
