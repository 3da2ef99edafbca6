/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of attached clients.
 */
#include "proto/stream.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size >= STREAM_HEADER_SIZE) {
		struct stream_header header;
		unsigned columns, rows;

		if (!stream_header_read(data, &header))
			return 0;
		data += STREAM_HEADER_SIZE;
		size -= STREAM_HEADER_SIZE;
		if (header.size > size)
			return 0;
		(void) stream_resize_read(data, header.size, &columns, &rows);
		data += header.size;
		size -= header.size;
	}
	return 0;
}
