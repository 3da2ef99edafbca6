/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/log_format.h"
#include "tests/unit/harness.h"

#include <endian.h>
#include <string.h>

#define CRI  HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI
#define JSON HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE
#define RAW  HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW
#define JOURNALD HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JOURNALD

#define AT_TEXT "1970-01-01T00:00:00.000000000Z stdout "
#define JSON_TAIL "\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00.000000000Z\"}\n"

static const struct log_origin out_origin = {.id = "web", .namespace = "default"};
static const struct log_origin last_origin = {.id = "web", .namespace = "default", .is_last = true};

static bool formats_bytes(Hydra__V1__LogFormat format, const struct log_origin *origin, const void *input, size_t size,
			  const char *expected)
{
	uint8_t out[2048];
	size_t taken;
	size_t used = log_format_find(format)->write(origin, input, size, out, sizeof(out), &taken);

	return taken == size && used == strlen(expected) && memcmp(out, expected, used) == 0;
}

static bool formats(Hydra__V1__LogFormat format, const char *input, const char *expected)
{
	return formats_bytes(format, &out_origin, input, strlen(input), expected);
}

TEST(a_whole_line_is_final_and_a_part_is_partial)
{
	CHECK(formats(CRI, "one\ntwo", AT_TEXT "F one\n" AT_TEXT "P two\n"));
	CHECK(formats(CRI, "\n", AT_TEXT "F \n"));
	CHECK(formats(CRI, "\r\n\n", AT_TEXT "F \r\n" AT_TEXT "F \n"));
}

TEST(what_does_not_fit_is_taken_later)
{
	static const Hydra__V1__LogFormat all[] = {CRI, JSON, RAW, JOURNALD};
	uint8_t out[LOG_FORMAT_ROOM];
	uint8_t data[3000];

	memset(data, '\1', sizeof(data));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		size_t taken;
		size_t used = log_format_find(all[i])->write(&out_origin, data, sizeof(data), out, sizeof(out), &taken);

		CHECK(taken > 0 && taken < sizeof(data) && used > 0 && used <= sizeof(out));
	}
}

TEST(json_has_a_newline_only_where_a_line_ends)
{
	CHECK(formats(JSON, "one\ntwo", "{\"log\":\"one\\n" JSON_TAIL "{\"log\":\"two" JSON_TAIL));
	CHECK(formats(JSON, "\n", "{\"log\":\"\\n" JSON_TAIL));
}

TEST(json_escapes_what_docker_escapes)
{
	CHECK(formats(JSON, "\"\\\r\t\x1b<>&\x7f", "{\"log\":\"\\\"\\\\\\r\\u0009\\u001b\\u003c\\u003e\\u0026\x7f" JSON_TAIL));
	CHECK(formats_bytes(JSON, &out_origin, "a\0b", 3, "{\"log\":\"a\\u0000b" JSON_TAIL));
	CHECK(formats(JSON, "\u2028\u2029\u202a", "{\"log\":\"\\u2028\\u2029\u202a" JSON_TAIL));
	CHECK(formats(JSON, "äö€😀", "{\"log\":\"äö€😀" JSON_TAIL));
}

TEST(each_byte_that_is_no_utf8_becomes_a_replacement_character)
{
	CHECK(formats(JSON, "\xff.", "{\"log\":\"\\ufffd." JSON_TAIL));
	CHECK(formats(JSON, "\xc0\x80.", "{\"log\":\"\\ufffd\\ufffd." JSON_TAIL));
	CHECK(formats(JSON, "\xed\xa0\x80.", "{\"log\":\"\\ufffd\\ufffd\\ufffd." JSON_TAIL));
	CHECK(formats(JSON, "\xf4\x90\x80\x80.", "{\"log\":\"\\ufffd\\ufffd\\ufffd\\ufffd." JSON_TAIL));
	CHECK(formats(JSON, "\xe2\x82\n", "{\"log\":\"\\ufffd\\ufffd\\n" JSON_TAIL));
}

TEST(the_start_of_a_character_waits_for_its_end)
{
	uint8_t out[2048];
	size_t taken;
	const struct log_format *json = log_format_find(JSON);

	CHECK(json->write(&out_origin, (const uint8_t *) "\xe2\x82", 2, out, sizeof(out), &taken) == 0 && taken == 0);
	CHECK(json->write(&out_origin, (const uint8_t *) "ab\xf0\x9f\x98", 5, out, sizeof(out), &taken) > 0 && taken == 2);
	CHECK(formats_bytes(JSON, &last_origin, "\xe2\x82", 2, "{\"log\":\"\\ufffd\\ufffd" JSON_TAIL));
}

TEST(raw_is_the_bytes_themselves)
{
	uint8_t out[1024];
	uint8_t data[256];
	size_t taken;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) i;
	CHECK(log_format_find(RAW)->write(&out_origin, data, sizeof(data), out, sizeof(out), &taken) == sizeof(data));
	CHECK(taken == sizeof(data) && memcmp(out, data, sizeof(data)) == 0);
}

static bool is_journal_message(const struct log_origin *origin, const char *data, size_t size, const char *head, size_t message_size)
{
	uint8_t out[2048];
	size_t taken;
	size_t used = log_format_find(JOURNALD)->write(origin, (const uint8_t *) data, size, out, sizeof(out), &taken);
	size_t head_size = strlen(head);
	uint64_t length;

	memcpy(&length, out + head_size, sizeof(length));
	return memcmp(out, head, head_size) == 0 && le64toh(length) == message_size &&
	       memcmp(out + head_size + 8, data, message_size) == 0 && used == head_size + 8 + message_size + 1 && out[used - 1] == '\n';
}

#define JOURNAL_HEAD "CONTAINER_NAME=web\nCONTAINER_ID_FULL=web\nSYSLOG_IDENTIFIER=web\nHYDRA_NAMESPACE=default\nPRIORITY="

TEST(a_journal_message_is_one_line_with_its_length)
{
	struct log_origin error_origin = out_origin;

	error_origin.is_error = true;
	CHECK(is_journal_message(&out_origin, "a\0=b\nnext\n", 10, JOURNAL_HEAD "6\nMESSAGE\n", 4));
	CHECK(is_journal_message(&error_origin, "\n", 1, JOURNAL_HEAD "3\nMESSAGE\n", 0));
	CHECK(is_journal_message(&out_origin, "part", 4, JOURNAL_HEAD "6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE\n", 4));
}

TEST(the_longest_names_leave_room_for_a_message)
{
	char name[77] = "";
	struct log_origin origin = {.id = name, .namespace = name};
	uint8_t out[LOG_FORMAT_ROOM];
	size_t taken;

	memset(name, 'n', sizeof(name) - 1);
	CHECK(log_format_find(JOURNALD)->write(&origin, (const uint8_t *) "message", 7, out, sizeof(out), &taken) <= sizeof(out));
	CHECK(taken == 7);
}
