/* SPDX-License-Identifier: Apache-2.0 */
#include "state/crc32c.h"

uint32_t crc32c_fast(uint32_t crc, const uint8_t *data, size_t size)
{
	return crc32c_portable(crc, data, size);
}
