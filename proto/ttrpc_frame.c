/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_frame.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

void ttrpc_header_write(const struct ttrpc_header *header, uint8_t ret_bytes[static TTRPC_HEADER_SIZE])
{
	uint32_t size = htobe32(header->size);
	uint32_t stream_id = htobe32(header->stream_id);

	memcpy(ret_bytes, &size, sizeof(size));
	memcpy(ret_bytes + 4, &stream_id, sizeof(stream_id));
	ret_bytes[8] = header->type;
	ret_bytes[9] = header->flags;
}

void ttrpc_header_read(const uint8_t bytes[static TTRPC_HEADER_SIZE], struct ttrpc_header *ret_header)
{
	uint32_t size;
	uint32_t stream_id;

	memcpy(&size, bytes, sizeof(size));
	memcpy(&stream_id, bytes + 4, sizeof(stream_id));
	*ret_header = (struct ttrpc_header){
		.size = be32toh(size), .stream_id = be32toh(stream_id), .type = bytes[8], .flags = bytes[9]};
}

void ttrpc_reader_deinit(struct ttrpc_reader *self)
{
	free(self->data);
	*self = (struct ttrpc_reader){0};
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* True when the header is complete and room for its data is there. */
static bool collect_header(struct ttrpc_reader *self, const uint8_t *bytes, size_t size, size_t *taken)
{
	size_t missing = smaller(TTRPC_HEADER_SIZE - self->filled, size);

	memcpy(self->header_bytes + self->filled, bytes, missing);
	self->filled += missing;
	*taken += missing;
	if (self->filled < TTRPC_HEADER_SIZE)
		return false;
	ttrpc_header_read(self->header_bytes, &self->header);
	self->has_header = true;
	self->is_oversized = self->header.size > TTRPC_DATA_MAX;
	self->filled = 0;
	if (!self->is_oversized)
		self->data = malloc(self->header.size + 1);
	return true;
}

enum ttrpc_reader_result ttrpc_reader_push(struct ttrpc_reader *self, const uint8_t *bytes, size_t size,
					   size_t *ret_taken)
{
	size_t part;

	*ret_taken = 0;
	if (!self->has_header && !collect_header(self, bytes, size, ret_taken))
		return TTRPC_READER_NEEDS_MORE;
	if (!self->is_oversized && self->data == NULL)
		return TTRPC_READER_NO_MEMORY;
	part = smaller(self->header.size - self->filled, size - *ret_taken);
	if (!self->is_oversized && part > 0)
		memcpy(self->data + self->filled, bytes + *ret_taken, part);
	self->filled += part;
	*ret_taken += part;
	if (self->filled < self->header.size)
		return TTRPC_READER_NEEDS_MORE;
	return self->is_oversized ? TTRPC_READER_OVERSIZED : TTRPC_READER_FRAME;
}

size_t ttrpc_reader_lacks(const struct ttrpc_reader *self)
{
	return (self->has_header ? self->header.size : TTRPC_HEADER_SIZE) - self->filled;
}

void ttrpc_reader_next(struct ttrpc_reader *self)
{
	ttrpc_reader_deinit(self);
}
