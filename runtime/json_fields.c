/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder behind json_fields.h. It never recurses deeper than the tables do and never touches what lies outside
 * of the structures that they describe.
 */
#include "runtime/json_fields.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#define PATH_LIMIT 200
#define INDEX_SIZE 24 /* "[18446744073709551615]" */

struct decoder {
	struct arena *arena;
	struct error *err;
	char path[PATH_LIMIT]; /* "process.args[1]" */
	size_t path_size;
};

static int decode_field(struct decoder *self, const struct field *field, struct json_object *value, void *place);
static int decode_fields(struct decoder *self, const struct field *fields, struct json_object *object, void *target);

/* A path is told for each of thousands of values, and hardly ever read: no printf(3) for that. What does not fit is left out. */
static void append(struct decoder *self, const char *text, size_t size)
{
	size_t room = PATH_LIMIT - 1 - self->path_size;

	size = size < room ? size : room;
	memcpy(self->path + self->path_size, text, size);
	self->path_size += size;
	self->path[self->path_size] = '\0';
}

/* Returns the size to give to leave(). */
static size_t enter(struct decoder *self, const char *name)
{
	size_t before = self->path_size;

	if (before > 0)
		append(self, ".", 1);
	append(self, name, strlen(name));
	return before;
}

static size_t enter_index(struct decoder *self, size_t index)
{
	size_t before = self->path_size;
	char text[INDEX_SIZE];
	char *at = text + sizeof(text);

	*--at = ']';
	do {
		*--at = (char) ('0' + index % 10);
		index /= 10;
	} while (index > 0);
	*--at = '[';
	append(self, at, (size_t) (text + sizeof(text) - at));
	return before;
}

static void leave(struct decoder *self, size_t before)
{
	self->path_size = before;
	self->path[before] = '\0';
}

static const char *describe(struct json_object *value, char *buffer, size_t size)
{
	static const char *const formats[] = {
		[json_type_null] = "null",
		[json_type_boolean] = "%s",
		[json_type_double] = "the number %s",
		[json_type_int] = "the number %s",
		[json_type_object] = "an object",
		[json_type_array] = "an array",
		[json_type_string] = "the string \"%.40s\"",
	};
	enum json_type type = json_object_get_type(value);
	bool is_scalar = type != json_type_object && type != json_type_array;

	(void) snprintf(buffer, size, formats[type], is_scalar ? json_object_get_string(value) : "");
	return buffer;
}

static int refuse(struct decoder *self, struct json_object *value, const char *expected)
{
	char found[80];

	return fail_because(self->err, EINVAL, "%s: expected %s, found %s", self->path_size > 0 ? self->path : "document",
			    expected, describe(value, found, sizeof(found)));
}

static int decode_string(struct decoder *self, struct json_object *value, const char **ret_text)
{
	if (!json_object_is_type(value, json_type_string))
		return refuse(self, value, "a string");
	*ret_text = json_object_get_string(value);
	return 0;
}

/* json-c has signed and unsigned numbers under one type, and gives the nearest that there is in the other. */
static int decode_uint(struct decoder *self, struct json_object *value, uint64_t maximum, uint64_t *ret_number)
{
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
	    json_object_get_uint64(value) > maximum)
		return refuse(self, value, maximum == UINT32_MAX ? "a number from 0 to 4294967295" : "a number, 0 or more");
	*ret_number = json_object_get_uint64(value);
	return 0;
}

static int decode_int(struct decoder *self, struct json_object *value, struct json_int *ret_number)
{
	if (!json_object_is_type(value, json_type_int) || json_object_get_uint64(value) > INT64_MAX)
		return refuse(self, value, "a whole number");
	*ret_number = (struct json_int){.is_set = true, .value = json_object_get_int64(value)};
	return 0;
}

/* Room for count items of size bytes, and one more as an end. */
static void *allocate_items(struct decoder *self, size_t count, size_t size)
{
	return count > 0 ? arena_allocate(self->arena, (count + 1) * size) : NULL;
}

static int decode_id(struct decoder *self, struct json_object *value, uint32_t *ret_id)
{
	uint64_t number = 0;
	int r = decode_uint(self, value, UINT32_MAX, &number);

	if (r == 0)
		*ret_id = (uint32_t) number;
	return r;
}

/* An array whose items all are what field says. json_strings, json_ids and every JSON_LIST_OF() look like struct json_list. */
static int decode_list(struct decoder *self, const struct field *field, struct json_object *array, const char *expected, void *place)
{
	struct json_list list = {0};

	if (!json_object_is_type(array, json_type_array))
		return refuse(self, array, expected);
	list.count = json_object_array_length(array);
	list.items = allocate_items(self, list.count, field->size);
	for (size_t i = 0; i < list.count; i++) {
		size_t before = enter_index(self, i);

		if (decode_field(self, field, json_object_array_get_idx(array, i), (char *) list.items + i * field->size) < 0)
			return self->err->code;
		leave(self, before);
	}
	memcpy(place, &list, sizeof(list));
	return 0;
}

static int decode_map(struct decoder *self, struct json_object *object, struct json_map *ret_map)
{
	struct json_map map = {0};

	if (!json_object_is_type(object, json_type_object))
		return refuse(self, object, "an object of strings");
	map.items = allocate_items(self, (size_t) json_object_object_length(object), sizeof(*map.items));
	json_object_object_foreach(object, key, value) {
		size_t before = enter(self, key);

		map.items[map.count].key = key;
		if (decode_string(self, value, &map.items[map.count].value) < 0)
			return self->err->code;
		map.count++;
		leave(self, before);
	}
	*ret_map = map;
	return 0;
}

static int decode_named(struct decoder *self, const struct field *field, struct json_object *object, void *place)
{
	struct json_list list = {0};

	if (!json_object_is_type(object, json_type_object))
		return refuse(self, object, "an object of objects");
	list.items = allocate_items(self, (size_t) json_object_object_length(object), field->size);
	json_object_object_foreach(object, key, value) {
		char *item = (char *) list.items + list.count * field->size;
		size_t before = enter(self, key);

		*(const char **) (void *) item = key;
		if (decode_fields(self, field->fields, value, item) < 0)
			return self->err->code;
		list.count++;
		leave(self, before);
	}
	memcpy(place, &list, sizeof(list));
	return 0;
}

static int decode_optional(struct decoder *self, const struct field *field, struct json_object *value, void **ret_object)
{
	void *object = arena_allocate(self->arena, field->size);
	int r = decode_fields(self, field->fields, value, object);

	if (r == 0)
		*ret_object = object;
	return r;
}

static int decode_bool(struct decoder *self, struct json_object *value, bool *ret_bool)
{
	if (!json_object_is_type(value, json_type_boolean))
		return refuse(self, value, "true or false");
	*ret_bool = json_object_get_boolean(value);
	return 0;
}

static int decode_optional_uint(struct decoder *self, struct json_object *value, struct json_uint *ret_number)
{
	int r = decode_uint(self, value, UINT64_MAX, &ret_number->value);

	ret_number->is_set = r == 0;
	return r;
}

static int decode_field(struct decoder *self, const struct field *field, struct json_object *value, void *place)
{
	static const struct field string = {.kind = FIELD_STRING, .size = sizeof(const char *)};
	static const struct field id = {.kind = FIELD_ID, .size = sizeof(uint32_t)};
	const struct field object = {.kind = FIELD_OBJECT, .fields = field->fields, .size = field->size};

	switch (field->kind) {
	case FIELD_BOOL:
		return decode_bool(self, value, place);
	case FIELD_STRING:
		return decode_string(self, value, place);
	case FIELD_STRINGS:
		return decode_list(self, &string, value, "an array of strings", place);
	case FIELD_MAP:
		return decode_map(self, value, place);
	case FIELD_INT:
		return decode_int(self, value, place);
	case FIELD_UINT:
		return decode_optional_uint(self, value, place);
	case FIELD_ID:
		return decode_id(self, value, place);
	case FIELD_IDS:
		return decode_list(self, &id, value, "an array of numbers", place);
	case FIELD_OBJECT:
		return decode_fields(self, field->fields, value, place);
	case FIELD_OPTIONAL:
		return decode_optional(self, field, value, place);
	case FIELD_OBJECTS:
		return decode_list(self, &object, value, "an array of objects", place);
	case FIELD_NAMED:
		return decode_named(self, field, value, place);
	}
	return 0;
}

static const struct field *find_field(const struct field *fields, const char *name)
{
	for (const struct field *field = fields; field->name != NULL; field++)
		if (strcmp(name, field->name) == 0)
			return field;
	return NULL;
}

/* After what is there, so that a message names the first mistake in the text, if there is one. */
static int check_required(struct decoder *self, const struct field *fields, struct json_object *object)
{
	for (const struct field *field = fields; field->name != NULL; field++) {
		if (!field->is_required || json_object_object_get(object, field->name) != NULL)
			continue;
		(void) enter(self, field->name);
		return fail_because(self->err, EINVAL, "%s: missing", self->path);
	}
	return 0;
}

static int decode_fields(struct decoder *self, const struct field *fields, struct json_object *object, void *target)
{
	if (!json_object_is_type(object, json_type_object))
		return refuse(self, object, "an object");
	json_object_object_foreach(object, key, value) {
		const struct field *field = value == NULL ? NULL : find_field(fields, key);
		size_t before;

		if (field == NULL)
			continue;
		before = enter(self, key);
		if (decode_field(self, field, value, (char *) target + field->offset) < 0)
			return self->err->code;
		leave(self, before);
	}
	return check_required(self, fields, object);
}

int json_fields_read(const struct field *fields, struct json_object *object, const char *where, struct arena *arena,
		     void *target, struct error *err)
{
	struct decoder decoder = {.arena = arena, .err = err};

	(void) enter(&decoder, where);
	return decode_fields(&decoder, fields, object, target);
}
