/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "runtime/json.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool bytes_are_json(const char *data, size_t size)
{
	auto_json *value = NULL;
	struct error err;

	return json_parse(data, size, "text", &value, &err) == 0;
}

static bool is_json(const char *text)
{
	return bytes_are_json(text, strlen(text));
}

static bool reads_as(const char *text, const char *expected)
{
	auto_json *value = NULL;
	struct error err;

	return json_parse(text, strlen(text), "text", &value, &err) == 0 && json_object_is_type(value, json_type_string) &&
	       strcmp(json_object_get_string(value), expected) == 0;
}

static bool refuses(const char *text, const char *message)
{
	auto_json *value = NULL;
	struct error err = ERROR_NONE;

	return json_parse(text, strlen(text), "text", &value, &err) == -EINVAL && value == NULL && strcmp(err.message, message) == 0;
}

TEST(valid_documents_are_accepted)
{
	static const char *const texts[] = {"{}", "[]", " [ 1 , -2.5e+3 , true , false , null , \"\" ] ", "0", "-0", "\"x\"", "null",
					    "{\"a\":{\"b\":[{}]}}", "\t{\r\n}\n", "\"it's NaN, Infinity\"", "\"\\\\u0000\"",
					    "{\"'\xc3\xa4\xe2\x82\xac\":\"\xf0\x9f\x98\x80'\"}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(is_json(texts[i]));
}

TEST(everything_else_is_refused)
{
	static const char *const texts[] = {"", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "[01]", ".5", "+1", "1e", "[1e]", "nul",
					    "tru e", "True", "\"", "\"\\x\"", "\"\\u12\"", "\"\x01\"", "{\"\x01\":1}", "[1 2]", "{} {}",
					    "{}x", "'x'", "{'a':1}", "{\"a\":'x'}", "NaN", "nan", "[Infinity]", "-Infinity", "//\n1",
					    "1//", "/**/1", "#\n1", "{\"a\"}", "{\"a\":}", "[,]", "\v1", "\xef\xbb\xbf{}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(!is_json(texts[i]));
}

TEST(bytes_that_are_not_utf8_are_refused)
{
	static const char *const texts[] = {"\"\xff\"", "\"\x80\"", "\"\xc3\"", "\"\xe2\x82\"", "{\"\xff\":1}", "\"\xc3\xa4\xff\"",
					    "[1]\xc3\xa4", "[\xc3\xa4]"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(!is_json(texts[i]));
}

TEST(nul_bytes_are_refused_wherever_they_are)
{
	static const char *const texts[] = {"\"a\\u0000b\"", "{\"a\\u0000b\":1}", "[\"\\\\\\u0000\"]"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(!is_json(texts[i]));
	CHECK(!bytes_are_json("{}\0", 3) && !bytes_are_json("{}\0{}", 5) && !bytes_are_json("[1,\0 2]", 7));
	CHECK(!bytes_are_json("\"a\0b\"", 5) && !bytes_are_json("{\"a\0b\":1}", 9));
}

TEST(escapes_become_characters)
{
	CHECK(reads_as("\"\\n\\t\\\"\\\\\\/\"", "\n\t\"\\/"));
	CHECK(reads_as("\"\\u00e4\\u20ac\\ud83d\\ude00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"));
	CHECK(reads_as("\"\xc3\xa4\"", "\xc3\xa4"));
}

TEST(a_refusal_names_the_line_and_the_column)
{
	CHECK(refuses("{\n  \"a\": 1,\n  \"b\": x\n}", "text: not JSON: unexpected character at line 3, column 8"));
	CHECK(refuses("{\n'a': 1}", "text: not JSON: unexpected character at line 2, column 1"));
	CHECK(refuses("[\"\\u0000\"]", "text: not JSON: NUL in a string at line 1, column 3"));
	CHECK(refuses("[\"\xc3\xa4\",\n]", "text: not JSON: unexpected character at line 2, column 1"));
	CHECK(refuses("[", "text: not JSON: unexpected end of data at line 1, column 2"));
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

TEST(documents_that_are_too_large_are_refused)
{
	struct json_object *value = NULL;
	struct error err = ERROR_NONE;

	/* refused before a byte is read */
	CHECK(json_parse("", JSON_SIZE_MAX + 1, "text", &value, &err) == -EFBIG && value == NULL);
}

TEST(whole_numbers_keep_their_value)
{
	static const char text[] = "[18446744073709551615,-9223372036854775808]";
	auto_json *value = NULL;
	struct error err;

	CHECK(json_parse(text, sizeof(text) - 1, "text", &value, &err) == 0);
	CHECK(json_object_get_uint64(json_object_array_get_idx(value, 0)) == UINT64_MAX);
	CHECK(json_object_get_int64(json_object_array_get_idx(value, 1)) == INT64_MIN);
	CHECK(!is_json("18446744073709551616") && !is_json("-9223372036854775809"));
}

TEST(of_members_with_the_same_name_the_last_counts)
{
	static const char text[] = "{\"a\":1,\"b\":2,\"a\":3}";
	auto_json *value = NULL;
	struct error err;

	CHECK(json_parse(text, sizeof(text) - 1, "text", &value, &err) == 0);
	CHECK(json_object_object_length(value) == 2);
	CHECK(json_object_get_int64(json_object_object_get(value, "a")) == 3);
}

TEST(what_is_written_can_be_read)
{
	auto_json *json = json_object_new_object();
	auto_free char *text = NULL;
	struct json_object *list;

	json_add_string(json, "a\"b", "line\n\x01/:");
	list = json_add_array(json, "list");
	json_add_uint(list, NULL, UINT64_MAX);
	json_add_int(list, NULL, -2);
	json_add_bool(json, "t", true);
	(void) json_add_object(json, "o");
	text = json_text(json, false);
	CHECK(strcmp(text, "{\"a\\\"b\":\"line\\n\\u0001/:\",\"list\":[18446744073709551615,-2],\"t\":true,\"o\":{}}") == 0);
	CHECK(is_json(text));
}

TEST(what_is_written_is_utf8_whatever_the_bytes)
{
	auto_json *json = json_object_new_array();
	auto_free char *text = NULL;

	json_add_string(json, NULL, "\xc3\xa4");
	json_add_string(json, NULL, "x\xff");
	json_add_string(json, NULL, "\xc3\xa4\xe2\x82");
	json_add_string(json, NULL, "\x80\xc3\xa4");
	text = json_text(json, false);
	CHECK(strcmp(text, "[\"\xc3\xa4\",\"x?\",\"\xc3\xa4??\",\"?\xc3\xa4\"]") == 0);
}

TEST(pretty_output_is_indented)
{
	auto_json *json = json_object_new_object();
	auto_free char *text = NULL;

	(void) json_add_array(json, "a");
	json_add_uint(json_add_object(json, "b"), "c", 1);
	text = json_text(json, true);
	CHECK(strcmp(text, "{\n  \"a\": [],\n  \"b\": {\n    \"c\": 1\n  }\n}") == 0);
}
