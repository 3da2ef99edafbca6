/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/image_cursor.h"

bool image_cursor_take_varint(struct image_cursor *self, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; shift < 64 && self->at < self->end; shift += 7) {
		unsigned char byte = *self->at++;

		value |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static bool skip(struct image_cursor *self, uint64_t size)
{
	if (size > (uint64_t) (self->end - self->at))
		return false;
	self->at += size;
	return true;
}

bool image_cursor_take_field(struct image_cursor *self, uint64_t *ret_number, uint64_t *ret_value)
{
	uint64_t tag, size;

	if (!image_cursor_take_varint(self, &tag))
		return false;
	*ret_number = 0;
	switch (tag & 7) {
	case 0:
		*ret_number = tag >> 3;
		return image_cursor_take_varint(self, ret_value);
	case 1:
		return skip(self, 8);
	case 2:
		return image_cursor_take_varint(self, &size) && skip(self, size);
	case 5:
		return skip(self, 4);
	default:
		return false;
	}
}

bool image_cursor_take_message(struct image_cursor *self, uint64_t number, struct image_cursor *ret_message)
{
	struct image_cursor at = *self;
	uint64_t tag, size;

	if (!image_cursor_take_varint(&at, &tag) || tag != (number << 3 | 2) || !image_cursor_take_varint(&at, &size) ||
	    size > (uint64_t) (at.end - at.at))
		return false;
	*ret_message = (struct image_cursor){at.at, at.at + size};
	*self = (struct image_cursor){at.at + size, self->end};
	return true;
}

bool image_cursor_take_u32(struct image_cursor *self, uint32_t *ret_value)
{
	if (self->end - self->at < 4)
		return false;
	*ret_value = (uint32_t) self->at[0] | (uint32_t) self->at[1] << 8 | (uint32_t) self->at[2] << 16 |
		     (uint32_t) self->at[3] << 24;
	self->at += 4;
	return true;
}
