/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc framing: ten bytes of header, then the message (containerd/ttrpc, PROTOCOL.md).
 *
 * Pure: bytes in, frames out. Limits hold before anything is parsed or allocated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TTRPC_HEADER_SIZE 10
#define TTRPC_DATA_MAX    (4U << 20)

enum ttrpc_type {
	TTRPC_REQUEST = 1,
	TTRPC_RESPONSE = 2,
	TTRPC_DATA = 3,
};

struct ttrpc_header {
	uint32_t size; /* of the data behind the header */
	uint32_t stream_id;
	uint8_t type;
	uint8_t flags;
};

void ttrpc_header_write(const struct ttrpc_header *header, uint8_t ret_bytes[static TTRPC_HEADER_SIZE]);
void ttrpc_header_read(const uint8_t bytes[static TTRPC_HEADER_SIZE], struct ttrpc_header *ret_header);

/* Collects frames from a byte stream that arrives in any pieces. */
struct ttrpc_reader {
	uint8_t header_bytes[TTRPC_HEADER_SIZE];
	struct ttrpc_header header;
	uint8_t *data; /* allocated for one frame, released with it */
	size_t filled;
	bool has_header;
	bool is_oversized; /* the frame's data is read and thrown away */
};

enum ttrpc_reader_result {
	TTRPC_READER_NEEDS_MORE,
	TTRPC_READER_FRAME,     /* header and data are complete */
	TTRPC_READER_OVERSIZED, /* header is complete, the data was thrown away: answer ResourceExhausted */
	TTRPC_READER_NO_MEMORY,
};

void ttrpc_reader_deinit(struct ttrpc_reader *self);
/* Takes from bytes until a frame is complete or nothing is left; *ret_taken bytes are used up. */
enum ttrpc_reader_result ttrpc_reader_push(struct ttrpc_reader *self, const uint8_t *bytes, size_t size,
					   size_t *ret_taken);
/* How many bytes its frame still lacks, as far as is known: to read no further than that. */
size_t ttrpc_reader_lacks(const struct ttrpc_reader *self);
/* Forgets the complete frame; the next push begins another one. */
void ttrpc_reader_next(struct ttrpc_reader *self);
