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

static int decode_fields(struct decoder *self, const struct field *fields, yyjson_val *object, void *target);

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

static const char *describe(yyjson_val *value, char *buffer, size_t size)
{
	if (yyjson_is_str(value))
		(void) snprintf(buffer, size, "the string \"%.40s\"", yyjson_get_str(value));
	else if (yyjson_is_uint(value))
		(void) snprintf(buffer, size, "the number %" PRIu64, yyjson_get_uint(value));
	else if (yyjson_is_sint(value))
		(void) snprintf(buffer, size, "the number %" PRId64, yyjson_get_sint(value));
	else if (yyjson_is_real(value))
		(void) snprintf(buffer, size, "the number %g", yyjson_get_real(value));
	else if (yyjson_is_bool(value))
		(void) snprintf(buffer, size, "%s", yyjson_get_bool(value) ? "true" : "false");
	else if (yyjson_is_arr(value))
		(void) snprintf(buffer, size, "an array");
	else if (yyjson_is_obj(value))
		(void) snprintf(buffer, size, "an object");
	else
		(void) snprintf(buffer, size, "null");
	return buffer;
}

static int refuse(struct decoder *self, yyjson_val *value, const char *expected)
{
	char found[80];

	return fail_because(self->err, EINVAL, "%s: expected %s, found %s", self->path_size > 0 ? self->path : "document",
			    expected, describe(value, found, sizeof(found)));
}

static int decode_string(struct decoder *self, yyjson_val *value, const char **ret_text)
{
	if (!yyjson_is_str(value))
		return refuse(self, value, "a string");
	if (strlen(yyjson_get_str(value)) != yyjson_get_len(value))
		return refuse(self, value, "a string without NUL bytes");
	*ret_text = yyjson_get_str(value);
	return 0;
}

static int decode_uint(struct decoder *self, yyjson_val *value, uint64_t maximum, uint64_t *ret_number)
{
	if (!yyjson_is_uint(value) || yyjson_get_uint(value) > maximum)
		return refuse(self, value, maximum == UINT32_MAX ? "a number from 0 to 4294967295" : "a number, 0 or more");
	*ret_number = yyjson_get_uint(value);
	return 0;
}

static int decode_int(struct decoder *self, yyjson_val *value, struct json_int *ret_number)
{
	if (!yyjson_is_int(value) || (yyjson_is_uint(value) && yyjson_get_uint(value) > INT64_MAX))
		return refuse(self, value, "a whole number");
	*ret_number = (struct json_int){.is_set = true, .value = yyjson_get_sint(value)};
	return 0;
}

static int decode_strings(struct decoder *self, yyjson_val *array, struct json_strings *ret_strings)
{
	struct json_strings strings = {.count = yyjson_arr_size(array)};
	size_t index, count, before;
	yyjson_val *item;
	int r;

	if (!yyjson_is_arr(array))
		return refuse(self, array, "an array of strings");
	if (strings.count > 0)
		strings.items = arena_allocate(self->arena, (strings.count + 1) * sizeof(*strings.items));
	yyjson_arr_foreach(array, index, count, item)
	{
		before = enter_index(self, index);
		r = decode_string(self, item, &strings.items[index]);
		if (r < 0)
			return r;
		leave(self, before);
	}
	*ret_strings = strings;
	return 0;
}

static int decode_ids(struct decoder *self, yyjson_val *array, struct json_ids *ret_ids)
{
	struct json_ids ids = {.count = yyjson_arr_size(array)};
	size_t index, count, before;
	uint64_t number = 0;
	yyjson_val *item;
	int r;

	if (!yyjson_is_arr(array))
		return refuse(self, array, "an array of numbers");
	if (ids.count > 0)
		ids.items = arena_allocate(self->arena, ids.count * sizeof(*ids.items));
	yyjson_arr_foreach(array, index, count, item)
	{
		before = enter_index(self, index);
		r = decode_uint(self, item, UINT32_MAX, &number);
		if (r < 0)
			return r;
		ids.items[index] = (uint32_t) number;
		leave(self, before);
	}
	*ret_ids = ids;
	return 0;
}

static int decode_map(struct decoder *self, yyjson_val *object, struct json_map *ret_map)
{
	struct json_map map = {.count = yyjson_obj_size(object)};
	size_t index, count, before;
	yyjson_val *key, *value;
	int r;

	if (!yyjson_is_obj(object))
		return refuse(self, object, "an object of strings");
	if (map.count > 0)
		map.items = arena_allocate(self->arena, map.count * sizeof(*map.items));
	yyjson_obj_foreach(object, index, count, key, value)
	{
		before = enter(self, yyjson_get_str(key));
		r = decode_string(self, key, &map.items[index].key);
		if (r == 0)
			r = decode_string(self, value, &map.items[index].value);
		if (r < 0)
			return r;
		leave(self, before);
	}
	*ret_map = map;
	return 0;
}

static int decode_objects(struct decoder *self, const struct field *field, yyjson_val *array, struct json_list *ret_list)
{
	struct json_list list = {.count = yyjson_arr_size(array)};
	size_t index, count, before;
	yyjson_val *item;
	int r;

	if (!yyjson_is_arr(array))
		return refuse(self, array, "an array of objects");
	if (list.count > 0)
		list.items = arena_allocate(self->arena, list.count * field->size);
	yyjson_arr_foreach(array, index, count, item)
	{
		before = enter_index(self, index);
		r = decode_fields(self, field->fields, item, (char *) list.items + index * field->size);
		if (r < 0)
			return r;
		leave(self, before);
	}
	*ret_list = list;
	return 0;
}

static int decode_optional(struct decoder *self, const struct field *field, yyjson_val *value, void **ret_object)
{
	void *object = arena_allocate(self->arena, field->size);
	int r = decode_fields(self, field->fields, value, object);

	if (r == 0)
		*ret_object = object;
	return r;
}

static int decode_bool(struct decoder *self, yyjson_val *value, bool *ret_bool)
{
	if (!yyjson_is_bool(value))
		return refuse(self, value, "true or false");
	*ret_bool = yyjson_get_bool(value);
	return 0;
}

static int decode_optional_uint(struct decoder *self, yyjson_val *value, struct json_uint *ret_number)
{
	int r = decode_uint(self, value, UINT64_MAX, &ret_number->value);

	ret_number->is_set = r == 0;
	return r;
}

static int decode_id(struct decoder *self, yyjson_val *value, uint32_t *ret_id)
{
	uint64_t number = 0;
	int r = decode_uint(self, value, UINT32_MAX, &number);

	if (r == 0)
		*ret_id = (uint32_t) number;
	return r;
}

static int decode_field(struct decoder *self, const struct field *field, yyjson_val *value, void *place)
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

static const struct field *find_field(const struct field *fields, yyjson_val *key)
{
	for (const struct field *field = fields; field->name != NULL; field++)
		if (yyjson_equals_str(key, field->name))
			return field;
	return NULL;
}

static int decode_fields(struct decoder *self, const struct field *fields, yyjson_val *object, void *target)
{
	size_t index, count, before;
	yyjson_val *key, *value;
	int r;

	if (!yyjson_is_obj(object))
		return refuse(self, object, "an object");
	yyjson_obj_foreach(object, index, count, key, value)
	{
		const struct field *field = yyjson_is_null(value) ? NULL : find_field(fields, key);

		if (field == NULL)
			continue;
		before = enter(self, field->name);
		r = decode_field(self, field, value, (char *) target + field->offset);
		if (r < 0)
			return r;
		leave(self, before);
	}
	return 0;
}

int json_fields_read(const struct field *fields, yyjson_val *object, const char *where, struct arena *arena, void *target,
		     struct error *err)
{
	struct decoder decoder = {.arena = arena, .err = err};

	(void) enter(&decoder, where);
	return decode_fields(&decoder, fields, object, target);
}
