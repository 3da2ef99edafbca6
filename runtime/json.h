/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON (RFC 8259) by json-c: what is refused when reading, and text for others when writing.
 */
#pragma once

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 64
#define JSON_SIZE_MAX  (8UL << 20) /* an empty object of 3 bytes takes 800 of memory */

#define auto_json __attribute__((cleanup(json_release))) struct json_object

/* Strict: exactly one value, in UTF-8, and whole numbers that fit into 64 bits; a NUL in a string is refused as well. When
 * members of an object have the same name the last one counts, as for runc. name is for messages. null is NULL. */
int json_parse(const char *data, size_t size, const char *name, struct json_object **ret_value, struct error *err);
void json_release(struct json_object **self);

/* Appends value to an array, or makes it the member `key` of an object; value is given away, and returned. The json_add_*
 * and json_text abort the program when memory ran out. */
struct json_object *json_add(struct json_object *to, const char *key, struct json_object *value);
struct json_object *json_add_object(struct json_object *to, const char *key);
struct json_object *json_add_array(struct json_object *to, const char *key);
void json_add_string(struct json_object *to, const char *key, const char *value);
void json_add_uint(struct json_object *to, const char *key, uint64_t value);
void json_add_int(struct json_object *to, const char *key, int64_t value);
void json_add_bool(struct json_object *to, const char *key, bool value);
/* The caller frees. Members are in the order in which they were added; bytes that are not UTF-8 become '?'. */
char *json_text(struct json_object *self, bool is_pretty);
