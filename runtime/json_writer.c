/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON. What is written may come from a container's files, so every byte is checked.
 */
#include "runtime/json.h"
#include "runtime/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void new_line(struct json_writer *self)
{
	if (!self->is_pretty)
		return;
	text_add(&self->text, "\n");
	for (int i = 0; i < self->depth; i++)
		text_add(&self->text, "  ");
}

/* Before an item or a key; a value after its key needs nothing. */
static void separate(struct json_writer *self)
{
	if (!self->follows_key && self->needs_comma)
		text_add(&self->text, ",");
	if (!self->follows_key && self->depth > 0)
		new_line(self);
	self->follows_key = false;
}

void json_writer_open(struct json_writer *self, char bracket)
{
	separate(self);
	text_add_bytes(&self->text, &bracket, 1);
	self->depth++;
	self->needs_comma = false;
}

void json_writer_close(struct json_writer *self, char bracket)
{
	self->depth--;
	if (self->needs_comma)
		new_line(self);
	text_add_bytes(&self->text, &bracket, 1);
	self->needs_comma = true;
}

static void add_character(struct text *text, const char **at, size_t available)
{
	unsigned char byte = (unsigned char) **at;
	size_t size = utf8_size(*at, available);

	if (byte == '"' || byte == '\\')
		text_addf(text, "\\%c", byte);
	else if (byte == '\n')
		text_add(text, "\\n");
	else if (byte == '\t')
		text_add(text, "\\t");
	else if (byte < 0x20)
		text_addf(text, "\\u%04x", byte);
	else if (size == 0)
		text_add(text, "\xef\xbf\xbd");
	else
		text_add_bytes(text, *at, size);
	*at += size > 0 ? size : 1;
}

static void add_quoted(struct json_writer *self, const char *value)
{
	const char *end = value + strlen(value);

	text_add(&self->text, "\"");
	while (value < end)
		add_character(&self->text, &value, (size_t) (end - value));
	text_add(&self->text, "\"");
}

void json_writer_key(struct json_writer *self, const char *key)
{
	separate(self);
	add_quoted(self, key);
	text_add(&self->text, self->is_pretty ? ": " : ":");
	self->follows_key = true;
}

void json_writer_string(struct json_writer *self, const char *value)
{
	separate(self);
	add_quoted(self, value);
	self->needs_comma = true;
}

void json_writer_raw(struct json_writer *self, const char *json)
{
	separate(self);
	text_add(&self->text, json);
	self->needs_comma = true;
}

void json_writer_uint(struct json_writer *self, uint64_t value)
{
	separate(self);
	text_addf(&self->text, "%" PRIu64, value);
	self->needs_comma = true;
}

void json_writer_int(struct json_writer *self, int64_t value)
{
	separate(self);
	text_addf(&self->text, "%" PRId64, value);
	self->needs_comma = true;
}

void json_writer_bool(struct json_writer *self, bool value)
{
	json_writer_raw(self, value ? "true" : "false");
}

void json_writer_member_string(struct json_writer *self, const char *key, const char *value)
{
	json_writer_key(self, key);
	json_writer_string(self, value);
}

void json_writer_member_uint(struct json_writer *self, const char *key, uint64_t value)
{
	json_writer_key(self, key);
	json_writer_uint(self, value);
}

void json_writer_member_bool(struct json_writer *self, const char *key, bool value)
{
	json_writer_key(self, key);
	json_writer_bool(self, value);
}

char *json_writer_finish(struct json_writer *self)
{
	char *text = text_take(&self->text);

	if (text == NULL)
		abort();
	return text;
}
