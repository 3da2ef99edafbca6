/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder behind json_fields.h. It never recurses deeper than the tables do and never touches what lies outside
 * of the structures that they describe.
 */
#include "runtime/json_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PATH_LIMIT 200

struct decoder {
	struct arena *arena;
	struct error *err;
	char path[PATH_LIMIT]; /* "process.args[1]" */
	size_t path_size;
};

static int decode_fields(struct decoder *self, const struct field *fields, const struct json_value *object, void *target);

/* Returns the size to give to leave(). */
static size_t enter(struct decoder *self, const char *name)
{
	size_t before = self->path_size;
	int added = snprintf(self->path + before, PATH_LIMIT - before, "%s%s", before > 0 ? "." : "", name);

	if (added > 0)
		self->path_size = before + (size_t) added < PATH_LIMIT ? before + (size_t) added : PATH_LIMIT - 1;
	return before;
}

static size_t enter_index(struct decoder *self, size_t index)
{
	size_t before = self->path_size;
	int added = snprintf(self->path + before, PATH_LIMIT - before, "[%zu]", index);

	if (added > 0)
		self->path_size = before + (size_t) added < PATH_LIMIT ? before + (size_t) added : PATH_LIMIT - 1;
	return before;
}

static void leave(struct decoder *self, size_t before)
{
	self->path_size = before;
	self->path[before] = '\0';
}

static const char *describe(const struct json_value *value, char *buffer, size_t size)
{
	if (value->kind == JSON_STRING)
		(void) snprintf(buffer, size, "the string \"%.40s\"", value->text);
	else if (value->kind == JSON_UINT)
		(void) snprintf(buffer, size, "the number %" PRIu64, value->uint_value);
	else if (value->kind == JSON_INT)
		(void) snprintf(buffer, size, "the number %" PRId64, value->int_value);
	else if (value->kind == JSON_REAL)
		(void) snprintf(buffer, size, "the number %g", value->real_value);
	else if (value->kind == JSON_BOOL)
		(void) snprintf(buffer, size, "%s", value->is_true ? "true" : "false");
	else
		(void) snprintf(buffer, size, "%s",
				value->kind == JSON_ARRAY ? "an array" : value->kind == JSON_OBJECT ? "an object" : "null");
	return buffer;
}

static int refuse(struct decoder *self, const struct json_value *value, const char *expected)
{
	char found[80];

	return fail_because(self->err, EINVAL, "%s: expected %s, found %s", self->path_size > 0 ? self->path : "document",
			    expected, describe(value, found, sizeof(found)));
}

static int decode_string(struct decoder *self, const struct json_value *value, const char **ret_text)
{
	if (value->kind != JSON_STRING)
		return refuse(self, value, "a string");
	if (strlen(value->text) != value->size)
		return refuse(self, value, "a string without NUL bytes");
	*ret_text = value->text;
	return 0;
}

static int decode_uint(struct decoder *self, const struct json_value *value, uint64_t maximum, uint64_t *ret_number)
{
	if (value->kind != JSON_UINT || value->uint_value > maximum)
		return refuse(self, value, maximum == UINT32_MAX ? "a number from 0 to 4294967295" : "a number, 0 or more");
	*ret_number = value->uint_value;
	return 0;
}

static int decode_int(struct decoder *self, const struct json_value *value, struct json_int *ret_number)
{
	if (value->kind != JSON_INT && (value->kind != JSON_UINT || value->uint_value > INT64_MAX))
		return refuse(self, value, "a whole number");
	/* up to INT64_MAX both members of the union have the same bits */
	*ret_number = (struct json_int){.is_set = true, .value = value->int_value};
	return 0;
}

/* Room for count items of size bytes, and one more as an end. */
static void *allocate_items(struct decoder *self, size_t count, size_t size)
{
	return count > 0 ? arena_allocate(self->arena, (count + 1) * size) : NULL;
}

static int decode_strings(struct decoder *self, const struct json_value *array, struct json_strings *ret_strings)
{
	struct json_strings strings = {.count = array->count};
	size_t index = 0;

	if (array->kind != JSON_ARRAY)
		return refuse(self, array, "an array of strings");
	strings.items = allocate_items(self, strings.count, sizeof(*strings.items));
	for (const struct json_value *item = array->first; item != NULL; item = item->next, index++) {
		size_t before = enter_index(self, index);

		if (decode_string(self, item, &strings.items[index]) < 0)
			return self->err->code;
		leave(self, before);
	}
	*ret_strings = strings;
	return 0;
}

static int decode_ids(struct decoder *self, const struct json_value *array, struct json_ids *ret_ids)
{
	struct json_ids ids = {.count = array->count};
	size_t index = 0;
	uint64_t number = 0;

	if (array->kind != JSON_ARRAY)
		return refuse(self, array, "an array of numbers");
	ids.items = allocate_items(self, ids.count, sizeof(*ids.items));
	for (const struct json_value *item = array->first; item != NULL; item = item->next, index++) {
		size_t before = enter_index(self, index);

		if (decode_uint(self, item, UINT32_MAX, &number) < 0)
			return self->err->code;
		ids.items[index] = (uint32_t) number;
		leave(self, before);
	}
	*ret_ids = ids;
	return 0;
}

static int decode_map(struct decoder *self, const struct json_value *object, struct json_map *ret_map)
{
	struct json_map map = {.count = object->count};
	size_t index = 0;

	if (object->kind != JSON_OBJECT)
		return refuse(self, object, "an object of strings");
	map.items = allocate_items(self, map.count, sizeof(*map.items));
	for (const struct json_value *member = object->first; member != NULL; member = member->next, index++) {
		size_t before = enter(self, member->key);

		if (strlen(member->key) != member->key_size)
			return refuse(self, member, "a name without NUL bytes");
		map.items[index].key = member->key;
		if (decode_string(self, member, &map.items[index].value) < 0)
			return self->err->code;
		leave(self, before);
	}
	*ret_map = map;
	return 0;
}

static int decode_objects(struct decoder *self, const struct field *field, const struct json_value *array,
			  struct json_list *ret_list)
{
	struct json_list list = {.count = array->count};
	size_t index = 0;

	if (array->kind != JSON_ARRAY)
		return refuse(self, array, "an array of objects");
	list.items = allocate_items(self, list.count, field->size);
	for (const struct json_value *item = array->first; item != NULL; item = item->next, index++) {
		size_t before = enter_index(self, index);

		if (decode_fields(self, field->fields, item, (char *) list.items + index * field->size) < 0)
			return self->err->code;
		leave(self, before);
	}
	*ret_list = list;
	return 0;
}

static int decode_optional(struct decoder *self, const struct field *field, const struct json_value *value, void **ret_object)
{
	void *object = arena_allocate(self->arena, field->size);
	int r = decode_fields(self, field->fields, value, object);

	if (r == 0)
		*ret_object = object;
	return r;
}

static int decode_bool(struct decoder *self, const struct json_value *value, bool *ret_bool)
{
	if (value->kind != JSON_BOOL)
		return refuse(self, value, "true or false");
	*ret_bool = value->is_true;
	return 0;
}

static int decode_optional_uint(struct decoder *self, const struct json_value *value, struct json_uint *ret_number)
{
	int r = decode_uint(self, value, UINT64_MAX, &ret_number->value);

	ret_number->is_set = r == 0;
	return r;
}

static int decode_id(struct decoder *self, const struct json_value *value, uint32_t *ret_id)
{
	uint64_t number = 0;
	int r = decode_uint(self, value, UINT32_MAX, &number);

	if (r == 0)
		*ret_id = (uint32_t) number;
	return r;
}

static int decode_field(struct decoder *self, const struct field *field, const struct json_value *value, void *place)
{
	switch (field->kind) {
	case FIELD_BOOL:
		return decode_bool(self, value, place);
	case FIELD_PRESENT:
		*(bool *) place = true;
		return 0;
	case FIELD_STRING:
		return decode_string(self, value, place);
	case FIELD_STRINGS:
		return decode_strings(self, value, place);
	case FIELD_MAP:
		return decode_map(self, value, place);
	case FIELD_INT:
		return decode_int(self, value, place);
	case FIELD_UINT:
		return decode_optional_uint(self, value, place);
	case FIELD_ID:
		return decode_id(self, value, place);
	case FIELD_IDS:
		return decode_ids(self, value, place);
	case FIELD_OBJECT:
		return decode_fields(self, field->fields, value, place);
	case FIELD_OPTIONAL:
		return decode_optional(self, field, value, place);
	case FIELD_OBJECTS:
		return decode_objects(self, field, value, place);
	}
	return 0;
}

static const struct field *find_field(const struct field *fields, const struct json_value *member)
{
	for (const struct field *field = fields; field->name != NULL; field++)
		if (strcmp(member->key, field->name) == 0)
			return field;
	return NULL;
}

static int decode_fields(struct decoder *self, const struct field *fields, const struct json_value *object, void *target)
{
	if (object->kind != JSON_OBJECT)
		return refuse(self, object, "an object");
	for (const struct json_value *member = object->first; member != NULL; member = member->next) {
		const struct field *field = member->kind == JSON_NULL ? NULL : find_field(fields, member);
		size_t before;

		if (field == NULL)
			continue;
		before = enter(self, field->name);
		if (decode_field(self, field, member, (char *) target + field->offset) < 0)
			return self->err->code;
		leave(self, before);
	}
	return 0;
}

int json_fields_read(const struct field *fields, const struct json_value *object, const char *where, struct arena *arena,
		     void *target, struct error *err)
{
	struct decoder decoder = {.arena = arena, .err = err};

	(void) enter(&decoder, where);
	return decode_fields(&decoder, fields, object, target);
}
