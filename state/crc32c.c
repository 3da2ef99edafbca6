/* SPDX-License-Identifier: Apache-2.0 */
#include "state/crc32c.h"

/* What four bits do to a checksum: small enough to be nothing in a shim. */
static const uint32_t nibbles[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

uint32_t crc32c_portable(uint32_t crc, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		crc = nibbles[(crc ^ data[i]) & 15] ^ (crc >> 4);
		crc = nibbles[(crc ^ (data[i] >> 4)) & 15] ^ (crc >> 4);
	}
	return crc;
}

uint32_t crc32c(const void *data, size_t size)
{
	return ~crc32c_fast(~0U, data, size);
}
