/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSE 4.2 has an instruction for exactly this polynomial.
 */
#include "state/crc32c.h"

#include <string.h>

#include <nmmintrin.h>

static __attribute__((target("sse4.2"))) uint32_t with_instruction(uint32_t crc, const uint8_t *data, size_t size)
{
	uint64_t wide = crc, word;

	for (; size >= sizeof(word); data += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		wide = _mm_crc32_u64(wide, word);
	}
	crc = (uint32_t) wide;
	for (; size > 0; data++, size--)
		crc = _mm_crc32_u8(crc, *data);
	return crc;
}

uint32_t crc32c_fast(uint32_t crc, const uint8_t *data, size_t size)
{
	return __builtin_cpu_supports("sse4.2") ? with_instruction(crc, data, size) : crc32c_portable(crc, data, size);
}
