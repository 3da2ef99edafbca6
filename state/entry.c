/* SPDX-License-Identifier: Apache-2.0 */
#include "state/entry.h"

#include "state/crc32c.h"

#include <endian.h>
#include <string.h>

void entry_seal(uint8_t *entry, size_t size)
{
	uint32_t header[2] = {htole32((uint32_t) size), htole32(crc32c(entry + ENTRY_HEADER_SIZE, size))};

	memcpy(entry, header, sizeof(header));
}

bool entry_read(const uint8_t *bytes, size_t size, size_t size_max, const uint8_t **ret_data, size_t *ret_size)
{
	const uint8_t *data = bytes + ENTRY_HEADER_SIZE;
	uint32_t header[2];
	size_t entry_size;

	if (size < ENTRY_HEADER_SIZE)
		return false;
	memcpy(header, bytes, sizeof(header));
	entry_size = le32toh(header[0]);
	if (entry_size > size_max || entry_size > size - ENTRY_HEADER_SIZE || crc32c(data, entry_size) != le32toh(header[1]))
		return false;
	*ret_data = data;
	*ret_size = entry_size;
	return true;
}
