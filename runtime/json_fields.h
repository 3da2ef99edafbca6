/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON objects into C structures, by tables.
 *
 * A table names the fields of one object, their type and where they go. Unknown fields are ignored, null counts as
 * absent, a value of the wrong type is refused with one message that names the field, what was found and what was
 * expected: "process.args[1]: expected a string, found the number 5", or "mounts[0].destination: missing".
 */
#pragma once

#include "base/error.h"
#include "runtime/arena.h"

#include <json-c/json_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_strings {
	const char **items; /* ends with NULL; NULL when absent or empty */
	size_t count;
};

struct json_pair {
	const char *key;
	const char *value;
};

struct json_map {
	struct json_pair *items;
	size_t count;
};

struct json_int {
	bool is_set;
	int64_t value;
};

struct json_uint {
	bool is_set;
	uint64_t value;
};

struct json_ids {
	uint32_t *items;
	size_t count;
};

/* What FIELD_OBJECTS fills; declare typed ones with JSON_LIST_OF(). */
struct json_list {
	void *items;
	size_t count;
};

#define JSON_LIST_OF(type)                                                                         \
	struct {                                                                                   \
		type *items;                                                                       \
		size_t count;                                                                      \
	}

enum field_kind {
	FIELD_BOOL,     /* bool */
	FIELD_STRING,   /* const char * */
	FIELD_STRINGS,  /* struct json_strings */
	FIELD_MAP,      /* struct json_map, values are strings */
	FIELD_INT,      /* struct json_int */
	FIELD_UINT,     /* struct json_uint */
	FIELD_ID,       /* uint32_t */
	FIELD_IDS,      /* struct json_ids */
	FIELD_OBJECT,   /* the structure itself */
	FIELD_OPTIONAL, /* pointer to a structure, NULL when absent */
	FIELD_OBJECTS,  /* JSON_LIST_OF(structure) */
	FIELD_NAMED,    /* an object of objects: JSON_LIST_OF(structure that begins with `const char *` for the name) */
};

struct field {
	const char *name; /* NULL ends the table */
	enum field_kind kind;
	size_t offset;
	const struct field *fields; /* of FIELD_OBJECT and those after it */
	size_t size;                /* of the structure, for those after FIELD_OBJECT */
	bool is_required;           /* the object is refused without it */
};

/* Fills target (zeroed by the caller): strings stay in object, which must live as long; arrays and structures go to arena. where
 * names the object in messages; "" for a document's root. */
int json_fields_read(const struct field *fields, struct json_object *object, const char *where, struct arena *arena,
		     void *target, struct error *err);
