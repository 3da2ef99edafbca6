/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/stream.h"
#include "tests/unit/harness.h"

TEST(a_stream_header_survives_its_bytes)
{
	uint8_t bytes[STREAM_HEADER_SIZE];
	struct stream_header header;

	stream_header_write(bytes, STREAM_ERR, 4711);
	CHECK(stream_header_read(bytes, &header) && header.type == STREAM_ERR && header.size == 4711);
	stream_header_write(bytes, STREAM_IN, STREAM_DATA_MAX + 1);
	CHECK(!stream_header_read(bytes, &header));
}

TEST(a_terminal_size_survives_its_bytes)
{
	uint8_t bytes[4];
	unsigned columns = 0, rows = 0;

	stream_resize_write(bytes, 200, 50);
	CHECK(stream_resize_read(bytes, 4, &columns, &rows) && columns == 200 && rows == 50);
	CHECK(!stream_resize_read(bytes, 3, &columns, &rows));
}
