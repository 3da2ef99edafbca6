/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/log_format.h"

#include "base/clock.h"
#include "base/text.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_SIZE 64
#define TAIL_SIZE   96

static const char *stream_name(const struct log_origin *origin)
{
	return origin->is_error ? "stderr" : "stdout";
}

/* Bytes up to the next line's end; *ret_has_end: it is there. */
static size_t line_size(const uint8_t *data, size_t size, bool *ret_has_end)
{
	const uint8_t *end = memchr(data, '\n', size);

	*ret_has_end = end != NULL;
	return end != NULL ? (size_t) (end - data) : size;
}

static size_t write_cri(const struct log_origin *origin, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
			size_t *ret_taken)
{
	char time_text[CLOCK_TEXT_SIZE];
	char prefix[PREFIX_SIZE];
	size_t prefix_size;
	size_t used = 0;
	size_t taken = 0;

	clock_format(origin->time_ns, time_text);
	prefix_size = (size_t) snprintf(prefix, sizeof(prefix), "%s %s F ", time_text, stream_name(origin));
	while (taken < size) {
		bool has_end;
		size_t line = line_size(data + taken, size - taken, &has_end);
		size_t room = out_size - used;

		if (room < prefix_size + 2)
			break;
		if (line > room - prefix_size - 1) {
			line = room - prefix_size - 1;
			has_end = false;
		}
		memcpy(out + used, prefix, prefix_size);
		out[used + prefix_size - 2] = has_end ? 'F' : 'P';
		memcpy(out + used + prefix_size, data + taken, line);
		used += prefix_size + line;
		out[used++] = '\n';
		taken += line + has_end;
	}
	*ret_taken = taken;
	return used;
}

enum {
	SEQUENCE_INVALID = 0,
	SEQUENCE_CUT = -1, /* valid so far, the data ends */
};

/* The length of the UTF-8 sequence that data begins with. The second byte's range excludes overlong forms, surrogates, and what
 * is beyond U+10FFFF. */
static int sequence_length(const uint8_t *data, size_t size)
{
	static const struct {
		uint8_t first, last, length, second_first, second_last;
	} leads[] = {
		{0x00, 0x7f, 1, 0x00, 0x00}, {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
		{0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
		{0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
	};
	size_t lead = 0;

	while (lead < sizeof(leads) / sizeof(leads[0]) && (data[0] < leads[lead].first || data[0] > leads[lead].last))
		lead++;
	if (lead == sizeof(leads) / sizeof(leads[0]))
		return SEQUENCE_INVALID;
	for (size_t i = 1; i < leads[lead].length; i++) {
		uint8_t first = i == 1 ? leads[lead].second_first : 0x80;
		uint8_t last = i == 1 ? leads[lead].second_last : 0xbf;

		if (i == size)
			return SEQUENCE_CUT;
		if (data[i] < first || data[i] > last)
			return SEQUENCE_INVALID;
	}
	return leads[lead].length;
}

/* One character as Docker writes it; out has room for 6 bytes. Returns how many. */
static size_t write_character(const uint8_t *data, int length, uint8_t *out)
{
	static const char hex[] = "0123456789abcdef";
	static const char pairs[][2] = {{'\n', 'n'}, {'\r', 'r'}, {'"', '"'}, {'\\', '\\'}};
	uint8_t escaped[6] = {'\\', 'u', '0', '0', (uint8_t) hex[data[0] >> 4], (uint8_t) hex[data[0] & 15]};

	if (length <= 0) {
		memcpy(out, "\\ufffd", 6);
		return 6;
	}
	if (length == 3 && data[0] == 0xe2 && data[1] == 0x80 && (data[2] & 0xfe) == 0xa8) { /* ends lines in JavaScript */
		memcpy(out, data[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
		return 6;
	}
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (data[0] == (uint8_t) pairs[i][0]) {
			out[0] = '\\';
			out[1] = (uint8_t) pairs[i][1];
			return 2;
		}
	}
	if (data[0] < 0x20 || data[0] == '<' || data[0] == '>' || data[0] == '&') {
		memcpy(out, escaped, 6);
		return 6;
	}
	memcpy(out, data, (size_t) length);
	return (size_t) length;
}

/* A line, or the part of it that is there and fits. */
static size_t write_json_text(const struct log_origin *origin, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
			      size_t *ret_taken)
{
	size_t used = 0;
	size_t taken = 0;
	bool is_line = false;

	while (taken < size && !is_line && out_size - used >= 6) {
		int length = sequence_length(data + taken, size - taken);

		if (length == SEQUENCE_CUT && !origin->is_last)
			break;
		is_line = data[taken] == '\n';
		used += write_character(data + taken, length, out + used);
		taken += length > 0 ? (size_t) length : 1;
	}
	*ret_taken = taken;
	return used;
}

static size_t write_json(const struct log_origin *origin, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
			 size_t *ret_taken)
{
	static const char head[] = "{\"log\":\"";
	char time_text[CLOCK_TEXT_SIZE];
	char tail[TAIL_SIZE];
	size_t tail_size;
	size_t used = 0;
	size_t taken = 0;

	clock_format(origin->time_ns, time_text);
	tail_size = (size_t) snprintf(tail, sizeof(tail), "\",\"stream\":\"%s\",\"time\":\"%s\"}\n", stream_name(origin), time_text);
	while (taken < size) {
		size_t around = strlen(head) + tail_size;
		size_t part, text_size;

		if (out_size - used < around + 6)
			break;
		text_size = write_json_text(origin, data + taken, size - taken, out + used + strlen(head), out_size - used - around, &part);
		if (part == 0)
			break;
		memcpy(out + used, head, strlen(head));
		memcpy(out + used + strlen(head) + text_size, tail, tail_size);
		used += around + text_size;
		taken += part;
	}
	*ret_taken = taken;
	return used;
}

static size_t write_raw(const struct log_origin *origin, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
			size_t *ret_taken)
{
	size_t taken = size < out_size ? size : out_size;

	(void) origin;
	memcpy(out, data, taken);
	*ret_taken = taken;
	return taken;
}

/* Fields of text as NAME=VALUE; the message with its length, so that it may hold anything. */
static size_t write_journal(const struct log_origin *origin, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
			    size_t *ret_taken)
{
	bool has_end;
	size_t line = line_size(data, size, &has_end);
	size_t used;
	uint64_t length;

	used = (size_t) snprintf((char *) out, out_size,
				 "CONTAINER_NAME=%s\nCONTAINER_ID_FULL=%s\nSYSLOG_IDENTIFIER=%s\nHYDRA_NAMESPACE=%s\nPRIORITY=%c\n", origin->id,
				 origin->id, origin->id, origin->namespace, origin->is_error ? '3' : '6');
	if (line > out_size - used - PREFIX_SIZE) {
		line = out_size - used - PREFIX_SIZE;
		has_end = false;
	}
	used += (size_t) snprintf((char *) out + used, out_size - used, "%sMESSAGE\n", has_end ? "" : "CONTAINER_PARTIAL_MESSAGE=true\n");
	length = htole64(line);
	memcpy(out + used, &length, sizeof(length));
	memcpy(out + used + sizeof(length), data, line);
	used += sizeof(length) + line;
	out[used++] = '\n';
	*ret_taken = line + has_end;
	return used;
}

static const struct log_format formats[] = {
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI, write_cri, false, false},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE, write_json, false, false},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW, write_raw, false, true},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JOURNALD, write_journal, true, false},
};

const struct log_format *log_format_find(Hydra__V1__LogFormat format)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (formats[i].format == format)
			return &formats[i];
	}
	return &formats[0];
}
