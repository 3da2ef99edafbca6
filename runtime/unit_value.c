/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value either says its type by how it is written, or is read as the type that was said before: by a word (uint64 5), by
 * a signature (@au [1]), or by the first element of the array.
 */
#include "runtime/unit_value.h"

#include "base/number.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX         "org.systemd.property."
#define DEPTH_MAX      8
#define SIGNATURE_SIZE 64
#define WORD_SIZE      128
#define BLANKS         " \t\r\n"
#define USEC_PER_SEC   1000000

struct type {
	const char *word;
	char code;
	bool is_whole;
	int64_t minimum;
	uint64_t maximum;
};

static const struct type types[] = {
	{"byte", 'y', true, 0, UINT8_MAX},
	{"int16", 'n', true, INT16_MIN, INT16_MAX},
	{"uint16", 'q', true, 0, UINT16_MAX},
	{"int32", 'i', true, INT32_MIN, INT32_MAX},
	{"uint32", 'u', true, 0, UINT32_MAX},
	{"int64", 'x', true, INT64_MIN, INT64_MAX},
	{"uint64", 't', true, 0, UINT64_MAX},
	{"double", 'd'},
	{"boolean", 'b'},
	{"string", 's'},
	{"objectpath", 'o'},
	{"signature", 'g'},
};

struct parser {
	const char *name;
	const char *at;
	struct unit_words *words;
	struct error *err;
	int depth;
};

/* The complete type at the beginning of a signature. */
struct signature {
	char text[SIGNATURE_SIZE];
};

static int parse_any(struct parser *self, struct signature *ret);
static int parse_as(struct parser *self, const char *wanted);

static int refuse(struct parser *self, const char *what)
{
	return fail_because(self->err, EINVAL, "annotations." PREFIX "%s: %s at '%.40s'", self->name, what, self->at);
}

static const struct type *type_of_code(char code)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].code == code)
			return &types[i];
	return NULL;
}

static const struct type *type_of_word(const char *word, size_t size)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i].word) == size && strncmp(types[i].word, word, size) == 0)
			return &types[i];
	return NULL;
}

static void skip_blanks(struct parser *self)
{
	self->at += strspn(self->at, BLANKS);
}

static bool take(struct parser *self, char c)
{
	skip_blanks(self);
	if (*self->at != c)
		return false;
	self->at++;
	return true;
}

static size_t word_size(const char *at)
{
	size_t size = 0;

	while (isalnum((unsigned char) at[size]) || (at[size] != '\0' && strchr("+-._", at[size]) != NULL))
		size++;
	return size;
}

/* How long the complete type at the beginning is; 0: there is none. */
static size_t type_size(const char *signature, int depth)
{
	size_t size = 1;

	if (depth > DEPTH_MAX)
		return 0;
	if (signature[0] == 'a') {
		size = type_size(signature + 1, depth + 1);
		return size == 0 ? 0 : size + 1;
	}
	if (signature[0] != '(')
		return signature[0] != '\0' && type_of_code(signature[0]) != NULL ? 1 : 0;
	while (signature[size] != ')') {
		size_t member = type_size(signature + size, depth + 1);

		if (member == 0)
			return 0;
		size += member;
	}
	return size == 1 ? 0 : size + 1;
}

static int unescape(struct parser *self, char *ret)
{
	static const char codes[] = "\\'\"ntr";
	static const char characters[] = "\\'\"\n\t\r";
	const char *found = *self->at != '\0' ? strchr(codes, *self->at) : NULL;

	if (found == NULL)
		return refuse(self, "unknown escape");
	*ret = characters[found - codes];
	self->at++;
	return 0;
}

static int parse_string(struct parser *self)
{
	char quote, *text;
	size_t size = 0;

	skip_blanks(self);
	quote = *self->at;
	if (quote != '\'' && quote != '"')
		return refuse(self, "expected a string in quotes");
	text = arena_allocate(self->words->arena, strlen(self->at));
	for (self->at++; *self->at != quote;) {
		if (*self->at == '\0')
			return refuse(self, "a string without its end");
		text[size] = *self->at++;
		if (text[size] == '\\' && unescape(self, &text[size]) < 0)
			return self->err->code;
		size++;
	}
	self->at++;
	text[size] = '\0';
	unit_words_add(self->words, text);
	return 0;
}

static int parse_whole(struct parser *self, const struct type *type, const char *text)
{
	int64_t negative;
	uint64_t number = 0;

	if (text[0] == '-' && type->minimum < 0 && number_parse_i64(text, &negative) == 0 && negative >= type->minimum)
		unit_words_addf(self->words, "%" PRId64, negative);
	else if (text[0] != '-' && number_parse_u64(text + (text[0] == '+'), &number) == 0 && number <= type->maximum)
		unit_words_addf(self->words, "%" PRIu64, number);
	else
		return refuse(self, "not a number of its type");
	return 0;
}

static int parse_double(struct parser *self, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(value))
		return refuse(self, "not a number");
	unit_words_addf(self->words, "%.17g", value);
	return 0;
}

static int parse_plain(struct parser *self, const struct type *type)
{
	char text[WORD_SIZE];
	size_t size;

	skip_blanks(self);
	size = word_size(self->at);
	if (size == 0 || !text_fit(text, sizeof(text), "%.*s", (int) size, self->at))
		return refuse(self, "expected a value (strings are in quotes)");
	if (type->code == 'b' && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return refuse(self, "expected true or false");
	if (type->code == 'b')
		unit_words_add(self->words, arena_format(self->words->arena, "%s", text));
	else if ((type->is_whole ? parse_whole(self, type, text) : parse_double(self, text)) < 0)
		return self->err->code;
	self->at += size;
	return 0;
}

static int parse_basic(struct parser *self, const struct type *type)
{
	size_t size;

	skip_blanks(self);
	size = word_size(self->at);
	/* the type may be said once more */
	if (type_of_word(self->at, size) == type)
		self->at += size;
	return strchr("sog", type->code) != NULL ? parse_string(self) : parse_plain(self, type);
}

/* After '['. wanted NULL: the first element decides. */
static int parse_elements(struct parser *self, const char *wanted, struct signature *ret)
{
	size_t counter = self->words->count, count = 0;
	struct signature element = {.text = ""};

	unit_words_add(self->words, "0");
	while (!take(self, ']')) {
		if (count > 0 && !take(self, ','))
			return refuse(self, "expected ',' or ']'");
		if ((wanted != NULL ? parse_as(self, wanted) : parse_any(self, &element)) < 0)
			return self->err->code;
		wanted = wanted != NULL ? wanted : element.text;
		count++;
	}
	if (wanted == NULL)
		return refuse(self, "an empty array needs its type, as in '@as []', before the end");
	self->words->items[counter] = arena_format(self->words->arena, "%zu", count);
	if (ret != NULL && !text_fit(ret->text, sizeof(ret->text), "a%s", element.text))
		return refuse(self, "a type that is too long");
	return 0;
}

/* After '('. */
static int parse_members(struct parser *self, struct signature *ret)
{
	struct signature member, all = {.text = "("};
	size_t used = 1;

	do {
		if (parse_any(self, &member) < 0)
			return self->err->code;
		if (!text_fit(all.text + used, sizeof(all.text) - used, "%s", member.text))
			return refuse(self, "a type that is too long");
		used += strlen(member.text);
	} while (take(self, ','));
	if (!take(self, ')'))
		return refuse(self, "expected ',' or ')'");
	return text_fit(ret->text, sizeof(ret->text), "%s)", all.text) ? 0 : refuse(self, "a type that is too long");
}

static int parse_members_as(struct parser *self, const char *wanted)
{
	if (!take(self, '('))
		return refuse(self, "expected '('");
	for (size_t at = 1; wanted[at] != ')'; at += type_size(wanted + at, 0)) {
		if (at > 1 && !take(self, ','))
			return refuse(self, "expected ','");
		if (parse_as(self, wanted + at) < 0)
			return self->err->code;
	}
	return take(self, ')') ? 0 : refuse(self, "expected ')'");
}

/* wanted is a signature whose first complete type counts. */
static int parse_as(struct parser *self, const char *wanted)
{
	int r;

	if (self->depth == DEPTH_MAX)
		return refuse(self, "nested too deeply");
	self->depth++;
	if (wanted[0] == '(')
		r = parse_members_as(self, wanted);
	else if (wanted[0] == 'a')
		r = take(self, '[') ? parse_elements(self, wanted + 1, NULL) : refuse(self, "expected '['");
	else
		r = parse_basic(self, type_of_code(wanted[0]));
	self->depth--;
	return r;
}

/* After '@'. */
static int parse_signature(struct parser *self, struct signature *ret)
{
	size_t size = strcspn(self->at, BLANKS);

	if (!text_fit(ret->text, sizeof(ret->text), "%.*s", (int) (size < SIGNATURE_SIZE ? size : SIGNATURE_SIZE), self->at) ||
	    size == 0 || type_size(ret->text, 0) != size)
		return refuse(self, "not the signature of one type");
	self->at += size;
	return parse_as(self, ret->text);
}

static const struct type *guess_type(const char *at, size_t size)
{
	if (*at == '\'' || *at == '"')
		return type_of_code('s');
	if ((size == 4 && strncmp(at, "true", size) == 0) || (size == 5 && strncmp(at, "false", size) == 0))
		return type_of_code('b');
	if (type_of_word(at, size) != NULL)
		return type_of_word(at, size);
	if (memchr(at, '.', size) != NULL)
		return type_of_code('d');
	return size > 0 && strchr("+-0123456789", *at) != NULL ? type_of_code('i') : NULL;
}

static int parse_guessed(struct parser *self, struct signature *ret)
{
	const struct type *type = guess_type(self->at, word_size(self->at));

	if (type == NULL)
		return refuse(self, "expected a value (strings are in quotes)");
	(void) text_fit(ret->text, sizeof(ret->text), "%c", type->code);
	return parse_basic(self, type);
}

static int parse_any(struct parser *self, struct signature *ret)
{
	int r;

	if (self->depth == DEPTH_MAX)
		return refuse(self, "nested too deeply");
	self->depth++;
	skip_blanks(self);
	if (take(self, '@'))
		r = parse_signature(self, ret);
	else if (take(self, '['))
		r = parse_elements(self, NULL, ret);
	else if (take(self, '('))
		r = parse_members(self, ret);
	else
		r = parse_guessed(self, ret);
	self->depth--;
	return r;
}

int unit_value_parse(const char *name, const char *text, struct unit_words *words, struct error *err)
{
	struct parser parser = {.name = name, .at = text, .words = words, .err = err};
	struct signature signature = {.text = ""};
	size_t first = words->count;

	unit_words_add(words, "");
	if (parse_any(&parser, &signature) < 0)
		return err->code;
	skip_blanks(&parser);
	if (*parser.at != '\0')
		return refuse(&parser, "expected nothing more");
	words->items[first] = arena_format(words->arena, "%s", signature.text);
	return 0;
}

/* "TimeoutStopSec", but not "XSec": the letter before says whether it is a word. */
static bool is_seconds(const char *name)
{
	size_t size = strlen(name);

	return size > 3 && strcmp(name + size - 3, "Sec") == 0 && islower((unsigned char) name[size - 4]);
}

/* words ends with the name, the signature and the value of one property. */
static int convert_seconds(const char *name, struct unit_words *words, size_t first, struct error *err)
{
	const struct type *type = type_of_code(words->items[first + 1][0]);
	double seconds;

	if (words->items[first + 1][1] != '\0' || type == NULL || !(type->is_whole || type->code == 'd'))
		return fail_because(err, EINVAL, "annotations." PREFIX "%s: expected a number of seconds", name);
	seconds = strtod(words->items[first + 2], NULL);
	if (seconds < 0 || seconds > (double) (UINT64_MAX / USEC_PER_SEC / 2))
		return fail_because(err, EINVAL, "annotations." PREFIX "%s: out of range", name);
	words->items[first] = arena_format(words->arena, "%.*sUSec", (int) (strlen(name) - 3), name);
	words->items[first + 1] = "t";
	words->items[first + 2] = arena_format(words->arena, "%.0f", seconds * USEC_PER_SEC);
	return 0;
}

static int check_property_name(const char *name, struct error *err)
{
	size_t size = 0;

	while (isascii(name[size]) && isalpha((unsigned char) name[size]))
		size++;
	if (size < 3 || name[size] != '\0')
		return fail_because(err, EINVAL, "annotations." PREFIX "%s: not the name of a property (three letters or more)", name);
	return 0;
}

int unit_values_of_annotations(const struct json_map *annotations, struct unit_words *words, struct error *err)
{
	for (size_t i = 0; i < annotations->count; i++) {
		const char *name = annotations->items[i].key + strlen(PREFIX);
		size_t first = words->count;

		if (!text_has_prefix(annotations->items[i].key, PREFIX))
			continue;
		if (check_property_name(name, err) < 0)
			return err->code;
		unit_words_add(words, name);
		if (unit_value_parse(name, annotations->items[i].value, words, err) < 0 ||
		    (is_seconds(name) && convert_seconds(name, words, first, err) < 0))
			return err->code;
	}
	return 0;
}
