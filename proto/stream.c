/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/stream.h"

#include <endian.h>
#include <string.h>

void stream_header_write(uint8_t ret_bytes[static STREAM_HEADER_SIZE], enum stream_type type, uint32_t size)
{
	uint32_t wire = htobe32(size);

	ret_bytes[0] = (uint8_t) type;
	memcpy(ret_bytes + 1, &wire, sizeof(wire));
}

bool stream_header_read(const uint8_t bytes[static STREAM_HEADER_SIZE], struct stream_header *ret_header)
{
	uint32_t wire;

	memcpy(&wire, bytes + 1, sizeof(wire));
	*ret_header = (struct stream_header){.type = bytes[0], .size = be32toh(wire)};
	return ret_header->size <= STREAM_DATA_MAX;
}

void stream_resize_write(uint8_t ret_bytes[static 4], unsigned columns, unsigned rows)
{
	ret_bytes[0] = (uint8_t) (columns >> 8);
	ret_bytes[1] = (uint8_t) columns;
	ret_bytes[2] = (uint8_t) (rows >> 8);
	ret_bytes[3] = (uint8_t) rows;
}

bool stream_resize_read(const uint8_t *data, size_t size, unsigned *ret_columns, unsigned *ret_rows)
{
	if (size != 4)
		return false;
	*ret_columns = (unsigned) data[0] << 8 | data[1];
	*ret_rows = (unsigned) data[2] << 8 | data[3];
	return true;
}
