/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/systemd_message.h"

#include "base/number.h"
#include "base/text.h"

#include <errno.h>
#include <stdbool.h>

#define SIGNATURE_SIZE 256 /* what D-Bus allows, and a NUL */

struct source {
	const char *name;
	const char *const *words;
	sd_bus_message *message;
	struct error *err;
};

static int append_value(struct source *self, const char *signature);

static int refuse(struct source *self)
{
	return fail_because(self->err, EINVAL, "property %s: its value does not have its type", self->name);
}

static int check(struct source *self, int r)
{
	return r < 0 ? fail_errno(self->err, -r, "property %s", self->name) : 0;
}

static const char *next(struct source *self)
{
	return *self->words != NULL ? *self->words++ : NULL;
}

/* D-Bus aligns by type: each number goes through a variable of its size. */
static int append_number(struct source *self, char type, const char *word)
{
	int64_t number = 0;
	uint64_t large = 0;
	bool is_negative = word[0] == '-';

	if ((is_negative ? number_parse_i64(word, &number) : number_parse_u64(word, &large)) < 0)
		return refuse(self);
	if (!is_negative)
		number = (int64_t) large;

	union {
		uint8_t y;
		int16_t n;
		uint16_t q;
		int32_t i;
		uint32_t u;
	} small;

	switch (type) {
	case 'y':
		small.y = (uint8_t) number;
		break;
	case 'n':
	case 'q':
		small.n = (int16_t) number;
		break;
	case 'i':
	case 'u':
		small.i = (int32_t) number;
		break;
	default:
		return check(self, sd_bus_message_append_basic(self->message, type, &number));
	}
	return check(self, sd_bus_message_append_basic(self->message, type, &small));
}

static int append_basic(struct source *self, char type)
{
	const char *word = next(self);

	if (word == NULL)
		return refuse(self);
	if (strchr("sog", type) != NULL)
		return check(self, sd_bus_message_append_basic(self->message, type, word));
	if (type == 'b') {
		int is_true = strcmp(word, "true") == 0;

		return check(self, sd_bus_message_append_basic(self->message, type, &is_true));
	}
	if (type == 'd') {
		double number = strtod(word, NULL);

		return check(self, sd_bus_message_append_basic(self->message, type, &number));
	}
	return strchr("ynqiuxt", type) != NULL ? append_number(self, type, word) : refuse(self);
}

/* How long the complete type at the beginning is; 0: there is none. */
static size_t type_size(const char *signature)
{
	size_t size = 0, open = 0;

	do {
		while (signature[size] == 'a')
			size++;
		if (signature[size] == '\0')
			return 0;
		open += signature[size] == '(';
		open -= signature[size] == ')';
		size++;
	} while (open > 0);
	return size;
}

static int append_array(struct source *self, const char *element)
{
	const char *word = next(self);
	uint64_t count;

	if (word == NULL || number_parse_u64(word, &count) < 0)
		return refuse(self);
	if (check(self, sd_bus_message_open_container(self->message, SD_BUS_TYPE_ARRAY, element)) < 0)
		return self->err->code;
	for (uint64_t i = 0; i < count; i++)
		if (append_value(self, element) < 0)
			return self->err->code;
	return check(self, sd_bus_message_close_container(self->message));
}

static int append_struct(struct source *self, const char *members)
{
	if (check(self, sd_bus_message_open_container(self->message, SD_BUS_TYPE_STRUCT, members)) < 0)
		return self->err->code;
	while (*members != '\0') {
		size_t size = type_size(members);
		char member[SIGNATURE_SIZE];

		if (size == 0 || !text_fit(member, sizeof(member), "%.*s", (int) size, members))
			return refuse(self);
		if (append_value(self, member) < 0)
			return self->err->code;
		members += size;
	}
	return check(self, sd_bus_message_close_container(self->message));
}

/* signature is one complete type */
static int append_value(struct source *self, const char *signature)
{
	size_t size = strlen(signature);
	char members[SIGNATURE_SIZE];

	if (signature[0] == 'a' && size > 1)
		return append_array(self, signature + 1);
	if (signature[0] != '(')
		return size == 1 ? append_basic(self, signature[0]) : refuse(self);
	if (size < 3 || !text_fit(members, sizeof(members), "%.*s", (int) size - 2, signature + 1))
		return refuse(self);
	return append_struct(self, members);
}

static int append_property(struct source *self)
{
	const char *signature;

	self->name = next(self);
	signature = next(self);
	if (signature == NULL || type_size(signature) != strlen(signature))
		return refuse(self);
	if (check(self, sd_bus_message_open_container(self->message, SD_BUS_TYPE_STRUCT, "sv")) < 0 ||
	    check(self, sd_bus_message_append_basic(self->message, 's', self->name)) < 0 ||
	    check(self, sd_bus_message_open_container(self->message, SD_BUS_TYPE_VARIANT, signature)) < 0)
		return self->err->code;
	if (append_value(self, signature) < 0)
		return self->err->code;
	if (check(self, sd_bus_message_close_container(self->message)) < 0)
		return self->err->code;
	return check(self, sd_bus_message_close_container(self->message));
}

int message_append_properties(sd_bus_message *message, const char *const *words, struct error *err)
{
	struct source source = {.name = "list", .words = words, .message = message, .err = err};

	if (check(&source, sd_bus_message_open_container(message, SD_BUS_TYPE_ARRAY, "(sv)")) < 0)
		return err->code;
	while (*source.words != NULL)
		if (append_property(&source) < 0)
			return err->code;
	return check(&source, sd_bus_message_close_container(message));
}
