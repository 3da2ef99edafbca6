/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/json.h"
#include "tests/unit/harness.h"

#include <stdlib.h>
#include <string.h>

static bool is_json(const char *text)
{
	struct arena arena = ARENA_EMPTY;
	struct json_value *value = NULL;
	struct error err;
	bool accepted = json_parse(text, strlen(text), "text", &arena, &value, &err) == 0;

	arena_deinit(&arena);
	return accepted;
}

static bool reads_as(const char *text, const char *expected)
{
	struct arena arena = ARENA_EMPTY;
	struct json_value *value = NULL;
	struct error err;
	bool is_same = json_parse(text, strlen(text), "text", &arena, &value, &err) == 0 && value->kind == JSON_STRING &&
		       value->size == strlen(expected) && memcmp(value->text, expected, value->size) == 0;

	arena_deinit(&arena);
	return is_same;
}

TEST(valid_documents_are_accepted)
{
	static const char *const texts[] = {"{}", "[]", " [ 1 , -2.5e+3 , true , false , null , \"\" ] ", "0", "-0", "\"x\"",
					    "{\"a\":{\"b\":[{}]}}", "18446744073709551616"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(is_json(texts[i]));
}

TEST(everything_else_is_refused)
{
	static const char *const texts[] = {"", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "1.", ".5", "+1", "1e", "nul", "tru e",
					    "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00x\"", "\"\x01\"", "[1 2]",
					    "{} {}", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "'x'",
					    "NaN", "//\n1"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(!is_json(texts[i]));
}

TEST(escapes_become_characters)
{
	CHECK(reads_as("\"\\n\\t\\\"\\\\\\/\"", "\n\t\"\\/"));
	CHECK(reads_as("\"\\u00e4\\u20ac\\ud83d\\ude00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"));
	CHECK(reads_as("\"\xc3\xa4\"", "\xc3\xa4"));
}

TEST(documents_that_are_nested_too_deep_are_refused)
{
	char text[JSON_DEPTH_MAX * 2 + 3];

	memset(text, '[', sizeof(text));
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	text[JSON_DEPTH_MAX * 2] = '\0';
	CHECK(is_json(text));
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	text[JSON_DEPTH_MAX * 2 + 2] = '\0';
	CHECK(!is_json(text));
}

TEST(numbers_keep_their_kind_and_value)
{
	static const char text[] = "[18446744073709551615,-9223372036854775808,1.5]";
	struct arena arena = ARENA_EMPTY;
	struct json_value *value = NULL;
	struct error err;

	CHECK(json_parse(text, sizeof(text) - 1, "text", &arena, &value, &err) == 0);
	CHECK(value->count == 3 && value->first->kind == JSON_UINT && value->first->uint_value == UINT64_MAX);
	CHECK(value->first->next->kind == JSON_INT && value->first->next->int_value == INT64_MIN);
	CHECK(value->first->next->next->kind == JSON_REAL);
	arena_deinit(&arena);
}

TEST(what_is_written_can_be_read)
{
	struct json_writer json = {0};
	char *text;

	json_writer_open(&json, '{');
	json_writer_member_string(&json, "a\"b", "line\n\x01\xff:");
	json_writer_key(&json, "list");
	json_writer_open(&json, '[');
	json_writer_uint(&json, 1);
	json_writer_int(&json, -2);
	json_writer_close(&json, ']');
	json_writer_member_bool(&json, "t", true);
	json_writer_close(&json, '}');
	text = json_writer_finish(&json);
	CHECK(strcmp(text, "{\"a\\\"b\":\"line\\n\\u0001\xef\xbf\xbd:\",\"list\":[1,-2],\"t\":true}") == 0);
	CHECK(is_json(text));
	free(text);
}

TEST(pretty_output_is_indented)
{
	struct json_writer json = {.is_pretty = true};
	char *text;

	json_writer_open(&json, '{');
	json_writer_key(&json, "a");
	json_writer_open(&json, '[');
	json_writer_close(&json, ']');
	json_writer_member_uint(&json, "b", 1);
	json_writer_close(&json, '}');
	text = json_writer_finish(&json);
	CHECK(strcmp(text, "{\n  \"a\": [],\n  \"b\": 1\n}") == 0);
	free(text);
}
