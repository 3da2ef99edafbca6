/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON. The input may be hostile: its size is bounded by the caller, its depth here.
 */
#include "runtime/json.h"

#include "runtime/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_SIZE_MAX 512

struct parser {
	const char *at;
	const char *end;
	struct arena *arena;
	const char *problem;
	int depth;
};

static struct json_value *parse_value(struct parser *self);

static void *fail(struct parser *self, const char *problem)
{
	if (self->problem == NULL)
		self->problem = problem;
	return NULL;
}

static void skip_space(struct parser *self)
{
	while (self->at < self->end && (*self->at == ' ' || *self->at == '\n' || *self->at == '\t' || *self->at == '\r'))
		self->at++;
}

static bool take(struct parser *self, char wanted)
{
	if (self->at == self->end || *self->at != wanted)
		return false;
	self->at++;
	return true;
}

static struct json_value *new_value(struct parser *self, enum json_kind kind)
{
	struct json_value *value = arena_allocate(self->arena, sizeof(*value));

	value->kind = kind;
	return value;
}

static struct json_value *parse_word(struct parser *self)
{
	static const struct {
		const char *word;
		size_t size;
		enum json_kind kind;
		bool is_true;
	} words[] = {{"null", 4, JSON_NULL, false}, {"true", 4, JSON_BOOL, true}, {"false", 5, JSON_BOOL, false}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct json_value *value;

		if ((size_t) (self->end - self->at) < words[i].size || memcmp(self->at, words[i].word, words[i].size) != 0)
			continue;
		self->at += words[i].size;
		value = new_value(self, words[i].kind);
		value->is_true = words[i].is_true;
		return value;
	}
	return fail(self, "unexpected character");
}

static size_t count_digits(const char *at, const char *end)
{
	size_t count = 0;

	while (at + count < end && at[count] >= '0' && at[count] <= '9')
		count++;
	return count;
}

/* The length of the number at `at`; 0 when it breaks the grammar. */
static size_t number_size(const char *at, const char *end, bool *ret_is_whole)
{
	const char *start = at;
	size_t digits;

	at += *at == '-';
	digits = count_digits(at, end);
	if (digits == 0 || (digits > 1 && *at == '0'))
		return 0;
	at += digits;
	*ret_is_whole = true;
	if (at < end && *at == '.') {
		digits = count_digits(++at, end);
		if (digits == 0)
			return 0;
		at += digits;
		*ret_is_whole = false;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		at++;
		at += at < end && (*at == '+' || *at == '-');
		digits = count_digits(at, end);
		if (digits == 0)
			return 0;
		at += digits;
		*ret_is_whole = false;
	}
	return (size_t) (at - start);
}

static struct json_value *parse_number(struct parser *self)
{
	char copy[NUMBER_SIZE_MAX + 1];
	bool is_whole = false;
	size_t size = number_size(self->at, self->end, &is_whole);
	struct json_value *value;

	if (size == 0 || size > NUMBER_SIZE_MAX)
		return fail(self, "bad number");
	memcpy(copy, self->at, size);
	copy[size] = '\0';
	self->at += size;
	value = new_value(self, copy[0] == '-' ? JSON_INT : JSON_UINT);
	errno = 0;
	if (is_whole && copy[0] == '-')
		value->int_value = strtoll(copy, NULL, 10);
	else if (is_whole)
		value->uint_value = strtoull(copy, NULL, 10);
	if (is_whole && errno == 0)
		return value;
	value->kind = JSON_REAL;
	value->real_value = strtod(copy, NULL);
	return value;
}

static int hex_digit(char character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	return character >= 'A' && character <= 'F' ? character - 'A' + 10 : -1;
}

/* Four hexadecimal digits; -1 when they are not. */
static int32_t parse_unit(struct parser *self)
{
	int32_t unit = 0;

	if (self->end - self->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(*self->at++);

		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

/* What follows \u: one unit, or two of a surrogate pair. Returns the bytes written, 0 for nonsense. */
static size_t parse_unicode(struct parser *self, char *to)
{
	int32_t high = parse_unit(self);
	int32_t low;

	if (high < 0xd800 || high > 0xdfff)
		return high < 0 ? 0 : utf8_encode((uint32_t) high, to);
	if (high > 0xdbff || !take(self, '\\') || !take(self, 'u'))
		return 0;
	low = parse_unit(self);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	return utf8_encode(0x10000U + ((uint32_t) (high - 0xd800) << 10) + (uint32_t) (low - 0xdc00), to);
}

static size_t parse_escape(struct parser *self, char *to)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const char *found;
	char character;

	if (self->at == self->end)
		return 0;
	character = *self->at++;
	if (character == 'u')
		return parse_unicode(self, to);
	found = character != '\0' ? strchr(escapes, character) : NULL;
	if (found == NULL)
		return 0;
	*to = meanings[found - escapes];
	return 1;
}

/* The position of the closing quote, or NULL. */
static const char *find_quote(const struct parser *self)
{
	for (const char *at = self->at; at < self->end; at++) {
		if (*at == '"')
			return at;
		at += *at == '\\';
	}
	return NULL;
}

/* After the opening quote. An unescaped string is never longer than it was. */
static const char *parse_string(struct parser *self, size_t *ret_size)
{
	const char *quote = find_quote(self);
	char *text, *to;

	if (quote == NULL)
		return fail(self, "string without an end");
	text = to = arena_allocate(self->arena, (size_t) (quote - self->at) + 1);
	while (self->at < quote) {
		size_t size = 1;

		if ((unsigned char) *self->at < 0x20)
			return fail(self, "control character in a string");
		if (*self->at == '\\') {
			self->at++;
			size = parse_escape(self, to);
		} else {
			size = utf8_size(self->at, (size_t) (quote - self->at));
			memcpy(to, self->at, size);
			self->at += size;
		}
		if (size == 0)
			return fail(self, "bad escape or bytes that are not UTF-8 in a string");
		to += size;
	}
	self->at = quote + 1;
	*ret_size = (size_t) (to - text);
	return text;
}

static bool parse_key(struct parser *self, const char **ret_key, size_t *ret_size)
{
	skip_space(self);
	if (!take(self, '"')) {
		(void) fail(self, "expected the name of a member");
		return false;
	}
	*ret_key = parse_string(self, ret_size);
	if (*ret_key == NULL)
		return false;
	skip_space(self);
	if (!take(self, ':')) {
		(void) fail(self, "expected ':'");
		return false;
	}
	return true;
}

static struct json_value *parse_container(struct parser *self, enum json_kind kind, char closing)
{
	struct json_value *container = new_value(self, kind);
	struct json_value **link = &container->first;

	skip_space(self);
	if (take(self, closing))
		return container;
	for (;;) {
		const char *key = NULL;
		size_t key_size = 0;

		if (kind == JSON_OBJECT && !parse_key(self, &key, &key_size))
			return NULL;
		*link = parse_value(self);
		if (*link == NULL)
			return NULL;
		(*link)->key = key;
		(*link)->key_size = key_size;
		link = &(*link)->next;
		container->count++;
		skip_space(self);
		if (take(self, closing))
			return container;
		if (!take(self, ','))
			return fail(self, "expected ',' or the end of an array or object");
	}
}

static struct json_value *parse_text(struct parser *self)
{
	struct json_value *value = new_value(self, JSON_STRING);

	value->text = parse_string(self, &value->size);
	return value->text != NULL ? value : NULL;
}

static struct json_value *parse_value(struct parser *self)
{
	struct json_value *value;

	skip_space(self);
	if (self->at == self->end)
		return fail(self, "unexpected end");
	if (self->depth == JSON_DEPTH_MAX)
		return fail(self, "nested too deep");
	self->depth++;
	if (take(self, '{'))
		value = parse_container(self, JSON_OBJECT, '}');
	else if (take(self, '['))
		value = parse_container(self, JSON_ARRAY, ']');
	else if (take(self, '"'))
		value = parse_text(self);
	else if (*self->at == '-' || (*self->at >= '0' && *self->at <= '9'))
		value = parse_number(self);
	else
		value = parse_word(self);
	self->depth--;
	return value;
}

int json_parse(const char *data, size_t size, const char *name, struct arena *arena, struct json_value **ret_value,
	       struct error *err)
{
	struct parser parser = {.at = data, .end = data + size, .arena = arena};
	struct json_value *value = parse_value(&parser);

	if (value != NULL) {
		skip_space(&parser);
		if (parser.at != parser.end)
			value = fail(&parser, "something follows the end");
	}
	if (value == NULL)
		return fail_because(err, EINVAL, "%s: not JSON: %s at byte %zu", name, parser.problem,
				    (size_t) (parser.at - data));
	*ret_value = value;
	return 0;
}
