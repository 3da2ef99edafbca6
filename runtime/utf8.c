/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlong forms, surrogates and what is above U+10FFFF are not valid.
 */
#include "runtime/utf8.h"

#include <stdbool.h>

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

size_t utf8_size(const char *text, size_t available)
{
	const unsigned char *byte = (const unsigned char *) text;
	size_t size = byte[0] < 0x80 ? 1 : byte[0] < 0xc2 ? 0 : byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : byte[0] < 0xf5 ? 4 : 0;

	if (size > available)
		return 0;
	for (size_t i = 1; i < size; i++)
		if (!is_continuation(byte[i]))
			return 0;
	if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xed && byte[1] > 0x9f) ||
	    (byte[0] == 0xf0 && byte[1] < 0x90) || (byte[0] == 0xf4 && byte[1] > 0x8f))
		return 0;
	return size;
}

size_t utf8_encode(uint32_t code, char *ret_bytes)
{
	unsigned char *byte = (unsigned char *) ret_bytes;

	if (code < 0x80) {
		byte[0] = (unsigned char) code;
		return 1;
	}
	if (code < 0x800) {
		byte[0] = (unsigned char) (0xc0 | code >> 6);
		byte[1] = (unsigned char) (0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		byte[0] = (unsigned char) (0xe0 | code >> 12);
		byte[1] = (unsigned char) (0x80 | (code >> 6 & 0x3f));
		byte[2] = (unsigned char) (0x80 | (code & 0x3f));
		return 3;
	}
	byte[0] = (unsigned char) (0xf0 | code >> 18);
	byte[1] = (unsigned char) (0x80 | (code >> 12 & 0x3f));
	byte[2] = (unsigned char) (0x80 | (code >> 6 & 0x3f));
	byte[3] = (unsigned char) (0x80 | (code & 0x3f));
	return 4;
}
