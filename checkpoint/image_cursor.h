/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading protobuf without a schema: as much as CRIU's images need. Nothing behind the end is looked at.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct image_cursor {
	const unsigned char *at, *end;
};

bool image_cursor_take_varint(struct image_cursor *self, uint64_t *ret_value);
/* One field. Values of other wire types than varint are skipped and reported as field 0. */
bool image_cursor_take_field(struct image_cursor *self, uint64_t *ret_number, uint64_t *ret_value);
/* The same for a field that holds a message: *ret_message is it. False: the next field is another one, or there is none. */
bool image_cursor_take_message(struct image_cursor *self, uint64_t number, struct image_cursor *ret_message);
bool image_cursor_take_u32(struct image_cursor *self, uint32_t *ret_value);
