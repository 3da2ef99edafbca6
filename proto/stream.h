/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of an attached client: what a connection carries after a successful Attach.
 *
 * Frames of five bytes of header (type, size big endian) and the data. From the shim: OUT, ERR, and EXIT last.
 * From the client: IN, RESIZE, and IN_END once. Unknown types are skipped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_HEADER_SIZE 5
#define STREAM_DATA_MAX    65536

enum stream_type {
	STREAM_IN = 0,
	STREAM_OUT = 1,
	STREAM_ERR = 2,
	STREAM_RESIZE = 3, /* two bytes of columns, two of rows, big endian */
	STREAM_IN_END = 4,
	STREAM_EXIT = 5, /* an ExitRecord; the shim closes afterwards */
};

struct stream_header {
	uint8_t type;
	uint32_t size;
};

void stream_header_write(uint8_t ret_bytes[static STREAM_HEADER_SIZE], enum stream_type type, uint32_t size);
/* False: more data than a frame may have. */
bool stream_header_read(const uint8_t bytes[static STREAM_HEADER_SIZE], struct stream_header *ret_header);

void stream_resize_write(uint8_t ret_bytes[static 4], unsigned columns, unsigned rows);
bool stream_resize_read(const uint8_t *data, size_t size, unsigned *ret_columns, unsigned *ret_rows);
