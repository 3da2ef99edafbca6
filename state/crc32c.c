/* SPDX-License-Identifier: Apache-2.0 */
#include "state/crc32c.h"

#define POLYNOMIAL 0x82f63b78U

uint32_t crc32c(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint32_t crc = ~0U;

	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
	}
	return ~crc;
}
