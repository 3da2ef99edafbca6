/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON (RFC 8259), strictly, in the two directions a runtime needs.
 *
 * A library would be shorter, but there is none that can be linked statically everywhere, and loading a shared one
 * costs a short-lived program a fifth of its life.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "runtime/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 64

enum json_kind {
	JSON_NULL,
	JSON_BOOL,
	JSON_UINT, /* a whole number from 0 to 2^64 - 1 */
	JSON_INT,  /* a whole number below 0 */
	JSON_REAL, /* any other number */
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

struct json_value {
	enum json_kind kind;
	union {
		bool is_true;
		uint64_t uint_value;
		int64_t int_value;
		double real_value;
		size_t count; /* of an array's items or an object's members */
	};
	const char *text;         /* a string's, NUL-terminated */
	size_t size;              /* of text; more than strlen(text) when it contains NUL */
	const char *key;          /* of an object's member */
	size_t key_size;
	struct json_value *first; /* item or member */
	struct json_value *next;  /* beside this one */
};

/* Everything lives in arena. name is for messages. */
int json_parse(const char *data, size_t size, const char *name, struct arena *arena, struct json_value **ret_value,
	       struct error *err);

/* Text that is being written. Commas and quotes come by themselves. */
struct json_writer {
	struct text text;
	int depth;       /* of open objects and arrays */
	bool is_pretty;  /* two spaces for each level */
	bool needs_comma;
	bool follows_key;
};

void json_writer_open(struct json_writer *self, char bracket); /* '{' or '[' */
void json_writer_close(struct json_writer *self, char bracket);
void json_writer_key(struct json_writer *self, const char *key);
void json_writer_string(struct json_writer *self, const char *value); /* bytes that are not UTF-8 become U+FFFD */
void json_writer_uint(struct json_writer *self, uint64_t value);
void json_writer_int(struct json_writer *self, int64_t value);
void json_writer_bool(struct json_writer *self, bool value);
/* JSON as it is: "null", or what another writer has made. */
void json_writer_raw(struct json_writer *self, const char *json);
/* key and value in one. */
void json_writer_member_string(struct json_writer *self, const char *key, const char *value);
void json_writer_member_uint(struct json_writer *self, const char *key, uint64_t value);
void json_writer_member_bool(struct json_writer *self, const char *key, bool value);
/* The caller frees; aborts the program when memory ran out. */
char *json_writer_finish(struct json_writer *self);
