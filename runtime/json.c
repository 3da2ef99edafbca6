/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Around json-c 0.18, which is neither as strict as it says nor says where: what it lets through is looked for first, what it
 * refuses by mistake is parsed in two steps, and offsets become lines and columns.
 */
#include "runtime/json.h"

#include "base/owned.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_ascii(const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((unsigned char) data[i] >= 0x80)
			return false;
	return true;
}

/* json-c cuts the name of a member at a NUL. It looks for control characters in values only. */
static const char *problem_in_string(const char *at, size_t available)
{
	static const char nul[] = {'\\', 'u', '0', '0', '0', '0'};

	if ((unsigned char) *at < 0x20)
		return "control character in a string";
	return available >= sizeof(nul) && memcmp(at, nul, sizeof(nul)) == 0 ? "NUL in a string" : NULL;
}

/* json-c takes names in single quotes, NaN and Infinity, and a NUL for the end. */
static const char *problem_outside(char byte)
{
	return byte == '\'' || byte == 'N' || byte == 'I' || byte == '\0' ? "unexpected character" : NULL;
}

/* What json-c would let through. NULL: nothing, but numbers such as -01 and 1. and UTF-8 such as overlong forms, which cannot be
 * taken for anything else. */
static const char *find_problem(const char *data, size_t size, size_t *ret_offset)
{
	bool is_string = false;

	for (size_t i = 0; i < size; i++) {
		const char *problem = is_string ? problem_in_string(data + i, size - i) : problem_outside(data[i]);

		if (problem != NULL) {
			*ret_offset = i;
			return problem;
		}
		if (data[i] == '"')
			is_string = !is_string;
		else if (is_string && data[i] == '\\')
			i++;
	}
	return NULL;
}

/* Returns NULL, or what is wrong and where. */
static const char *run_json_c(const char *data, size_t size, int flags, struct json_object **ret_value, size_t *ret_offset)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	struct json_object *value;
	enum json_tokener_error status;

	if (tokener == NULL)
		abort();
	json_tokener_set_flags(tokener, flags);
	value = json_tokener_parse_ex(tokener, data, (int) size);
	*ret_offset = json_tokener_get_parse_end(tokener);
	/* a number goes on until something else comes */
	if (json_tokener_get_error(tokener) == json_tokener_continue)
		value = json_tokener_parse_ex(tokener, "", 1);
	status = json_tokener_get_error(tokener);
	json_tokener_free(tokener);
	if (status == json_tokener_error_memory)
		abort();
	*ret_value = value;
	return status == json_tokener_success ? NULL : json_tokener_error_desc(status);
}

/* When strict, json-c takes what is not ASCII for control characters (its issue 875). The grammar is the same with each such
 * byte replaced; then the value can be read without being strict. */
static const char *parse_wide(const char *data, size_t size, struct json_object **ret_value, size_t *ret_offset)
{
	auto_free char *masked = malloc(size);
	auto_json *ignored = NULL;
	const char *problem;

	if (masked == NULL)
		abort();
	for (size_t i = 0; i < size; i++)
		masked[i] = (unsigned char) data[i] < 0x80 ? data[i] : '?';
	problem = run_json_c(masked, size, JSON_TOKENER_STRICT, &ignored, ret_offset);
	return problem != NULL ? problem : run_json_c(data, size, JSON_TOKENER_VALIDATE_UTF8, ret_value, ret_offset);
}

static int refuse(const char *data, size_t offset, const char *name, const char *problem, struct error *err)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < offset; i++) {
		line += data[i] == '\n';
		column = data[i] == '\n' ? 1 : column + 1;
	}
	return fail_because(err, EINVAL, "%s: not JSON: %s at line %zu, column %zu", name, problem, line, column);
}

int json_parse(const char *data, size_t size, const char *name, struct json_object **ret_value, struct error *err)
{
	struct json_object *value = NULL;
	size_t offset = 0;
	const char *problem;

	if (size > JSON_SIZE_MAX)
		return fail_because(err, EFBIG, "%s: more than %lu bytes", name, JSON_SIZE_MAX);
	problem = find_problem(data, size, &offset);
	if (problem == NULL && is_ascii(data, size))
		problem = run_json_c(data, size, JSON_TOKENER_STRICT, &value, &offset);
	else if (problem == NULL)
		problem = parse_wide(data, size, &value, &offset);
	if (problem != NULL)
		return refuse(data, offset, name, problem, err);
	*ret_value = value;
	return 0;
}

void json_release(struct json_object **self)
{
	(void) json_object_put(*self);
}

struct json_object *json_add(struct json_object *to, const char *key, struct json_object *value)
{
	int r = json_object_is_type(to, json_type_array) ? json_object_array_add(to, value) : json_object_object_add(to, key, value);

	if (value == NULL || r < 0)
		abort();
	return value;
}

struct json_object *json_add_object(struct json_object *to, const char *key)
{
	return json_add(to, key, json_object_new_object());
}

struct json_object *json_add_array(struct json_object *to, const char *key)
{
	return json_add(to, key, json_object_new_array());
}

void json_add_string(struct json_object *to, const char *key, const char *value)
{
	(void) json_add(to, key, json_object_new_string(value));
}

void json_add_uint(struct json_object *to, const char *key, uint64_t value)
{
	(void) json_add(to, key, json_object_new_uint64(value));
}

void json_add_int(struct json_object *to, const char *key, int64_t value)
{
	(void) json_add(to, key, json_object_new_int64(value));
}

void json_add_bool(struct json_object *to, const char *key, bool value)
{
	(void) json_add(to, key, json_object_new_boolean(value));
}

/* text is JSON but for its encoding: what json-c writes of a path or a message that was cut. Its reader stops at a byte that
 * cannot be, or after one that should have gone on. */
static void replace_bad_bytes(char *text)
{
	size_t size = strlen(text);

	for (;;) {
		auto_json *ignored = NULL;
		size_t offset = 0;

		if (run_json_c(text, size, JSON_TOKENER_VALIDATE_UTF8, &ignored, &offset) == NULL)
			return;
		if ((unsigned char) text[offset] < 0x80)
			offset--;
		assert(offset < size && (unsigned char) text[offset] >= 0x80);
		text[offset] = '?';
	}
}

char *json_text(struct json_object *self, bool is_pretty)
{
	int flags = JSON_C_TO_STRING_NOSLASHESCAPE | (is_pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : 0);
	const char *written = json_object_to_json_string_ext(self, flags);
	char *text = written != NULL ? strdup(written) : NULL;

	if (text == NULL)
		abort();
	if (!is_ascii(text, strlen(text)))
		replace_bad_bytes(text);
	return text;
}
