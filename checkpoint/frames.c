/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/frames.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <string.h>

#include "base/owned.h"
#include "checkpoint/packets.h"
#include "state/crc32c.h"

#define SMALL_MAX 4096U
#define OFFER_MAX (16U << 20)
#define ENTRY_MAX (1U << 20)

struct frame_kind {
	const char *name;
	size_t limit;
};

static const struct frame_kind kinds[FRAME_TYPE_COUNT] = {
	[FRAME_HELLO] = {"HELLO", SMALL_MAX},
	[FRAME_OFFER] = {"OFFER", OFFER_MAX},
	[FRAME_ANSWER] = {"ANSWER", 65536},
	[FRAME_LAYER_ENTRY] = {"LAYER_ENTRY", ENTRY_MAX},
	[FRAME_LAYER_DATA] = {"LAYER_DATA", FRAME_DATA_MAX + 8},
	[FRAME_LAYER_DONE] = {"LAYER_DONE", SMALL_MAX},
	[FRAME_IMAGE] = {"IMAGE", SMALL_MAX},
	[FRAME_IMAGE_DATA] = {"IMAGE_DATA", FRAME_DATA_MAX},
	[FRAME_IMAGES_DONE] = {"IMAGES_DONE", SMALL_MAX},
	[FRAME_PREPARED] = {"PREPARED", SMALL_MAX},
	[FRAME_GO] = {"GO", SMALL_MAX},
	[FRAME_RUNNING] = {"RUNNING", SMALL_MAX},
	[FRAME_PAGE_REQUEST] = {"PAGE_REQUEST", sizeof(struct page_frame)},
	[FRAME_PAGES] = {"PAGES", sizeof(struct page_frame) + PAGES_PER_FRAME * PAGE_BYTES},
	[FRAME_DONE] = {"DONE", SMALL_MAX},
	[FRAME_ABORT] = {"ABORT", SMALL_MAX},
	[FRAME_ACKNOWLEDGED] = {"ACKNOWLEDGED", SMALL_MAX},
	[FRAME_ROUND] = {"ROUND", SMALL_MAX},
	[FRAME_PACKET] = {"PACKET", PACKET_SIZE_MAX},
	[FRAME_VERDICT] = {"VERDICT", SMALL_MAX},
	[FRAME_WORKING] = {"WORKING", SMALL_MAX},
};

size_t frame_limit(uint32_t type)
{
	return type < FRAME_TYPE_COUNT ? kinds[type].limit : 0;
}

const char *frame_name(enum frame_type type)
{
	return type > 0 && type < FRAME_TYPE_COUNT ? kinds[type].name : "?";
}

static void put_u32(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char) (value >> (8 * i));
}

static uint32_t get_u32(const unsigned char *at)
{
	return (uint32_t) at[0] | (uint32_t) at[1] << 8 | (uint32_t) at[2] << 16 | (uint32_t) at[3] << 24;
}

static uint32_t checksum_of(const struct page_frame *head, const unsigned char *payload, size_t size)
{
	struct page_frame plain = *head;
	uint32_t crc;

	plain.checksum = 0;
	crc = crc32c_fast(~0U, (const uint8_t *) &plain, sizeof(plain));
	return ~crc32c_fast(crc, payload + sizeof(plain), size - sizeof(plain));
}

void page_frame_seal(void *payload, size_t size)
{
	struct page_frame head;

	memcpy(&head, payload, sizeof(head));
	head.checksum = checksum_of(&head, payload, size);
	memcpy(payload, &head, sizeof(head));
}

enum compress_method page_frame_method(const struct page_frame *head)
{
	if ((head->flags & PAGE_FLAG_LZ4) != 0)
		return COMPRESS_LZ4;
	return (head->flags & PAGE_FLAG_ZSTD) != 0 ? COMPRESS_ZSTD : COMPRESS_NONE;
}

static bool is_well_formed(const struct page_frame *head, size_t size)
{
	size_t plain = (size_t) head->count * PAGE_BYTES;

	if (head->count == 0 || head->count > PAGES_PER_FRAME || head->address % PAGE_BYTES != 0 ||
	    head->address > UINT64_MAX - (uint64_t) plain)
		return false;
	if ((head->flags & PAGE_FLAG_ZERO) != 0)
		return size == 0;
	return page_frame_method(head) == COMPRESS_NONE ? size == plain : size > 0 && size < plain;
}

int page_frame_open(const struct frame *frame, bool is_sealed, struct page_frame *ret_head, struct error *err)
{
	struct page_frame head;

	if (frame->size < sizeof(head))
		return fail_because(err, EPROTO, "pages came without saying which");
	memcpy(&head, frame->data, sizeof(head));
	if (is_sealed && head.checksum != checksum_of(&head, frame->data, frame->size))
		return fail_because(err, EBADMSG, "pages were damaged on their way");
	if (!is_well_formed(&head, frame->size - sizeof(head)))
		return fail_because(err, EPROTO, "pages came in a form that is not understood");
	*ret_head = head;
	return 0;
}

int page_frame_unpack(const struct frame *frame, const struct page_frame *head, unsigned char *room,
		      const unsigned char **ret_pages, struct error *err)
{
	const unsigned char *data = frame->data + sizeof(*head);
	enum compress_method method = page_frame_method(head);

	if ((head->flags & PAGE_FLAG_ZERO) != 0)
		data = NULL;
	else if (method != COMPRESS_NONE &&
		 decompress_pages(method, data, frame->size - sizeof(*head), room, (size_t) head->count * PAGE_BYTES, err) < 0)
		return err->code;
	else if (method != COMPRESS_NONE)
		data = room;
	*ret_pages = data;
	return 0;
}

void link_init(struct link *self, struct transport *transport)
{
	*self = (struct link){.transport = *transport};
	*transport = (struct transport){.fd = FD_NONE};
}

void link_deinit(struct link *self)
{
	transport_close(&self->transport);
	free(self->input);
	free(self->output);
	*self = (struct link){.transport = {.fd = FD_NONE}};
}

static bool make_room(unsigned char **buffer, size_t *capacity, size_t wanted)
{
	unsigned char *grown;

	if (wanted <= *capacity)
		return true;
	wanted = wanted < 65536 ? 65536 : wanted + wanted / 2;
	grown = realloc(*buffer, wanted);
	if (grown == NULL)
		return false;
	*buffer = grown;
	*capacity = wanted;
	return true;
}

void *link_reserve(struct link *self, enum frame_type type, size_t size)
{
	unsigned char *at;

	assert(size <= frame_limit(type));
	if (self->output_from == self->output_to)
		self->output_from = self->output_to = 0;
	if (!make_room(&self->output, &self->output_capacity, self->output_to + FRAME_HEADER_SIZE + size))
		return NULL;
	at = self->output + self->output_to;
	put_u32(at, (uint32_t) size);
	put_u32(at + 4, type);
	self->output_to += FRAME_HEADER_SIZE + size;
	return at + FRAME_HEADER_SIZE;
}

void link_shrink(struct link *self, enum frame_type type, size_t reserved, size_t size)
{
	assert(size <= reserved);
	self->output_to -= reserved - size;
	put_u32(self->output + self->output_to - size - FRAME_HEADER_SIZE, (uint32_t) size);
	put_u32(self->output + self->output_to - size - 4, type);
}

static int reserve(struct link *self, enum frame_type type, size_t size, void **ret_room, struct error *err)
{
	if (size > frame_limit(type))
		return fail_because(err, EMSGSIZE, "%s is too long for a frame (%zu bytes)", frame_name(type), size);
	*ret_room = link_reserve(self, type, size);
	return *ret_room == NULL ? fail_errno(err, ENOMEM, "send %s", frame_name(type)) : 0;
}

int link_queue(struct link *self, enum frame_type type, const void *data, size_t size, struct error *err)
{
	void *room = NULL;
	int r = reserve(self, type, size, &room, err);

	if (r == 0 && size > 0)
		memcpy(room, data, size);
	return r;
}

int link_queue_message(struct link *self, enum frame_type type, const void *message, struct error *err)
{
	void *room = NULL;
	int r = reserve(self, type, protobuf_c_message_get_packed_size(message), &room, err);

	if (r == 0)
		(void) protobuf_c_message_pack(message, room);
	return r;
}

size_t link_queued(const struct link *self)
{
	return self->output_to - self->output_from;
}

int link_flush(struct link *self, struct error *err)
{
	while (self->output_from < self->output_to) {
		ssize_t sent = transport_write(&self->transport, self->output + self->output_from,
					       self->output_to - self->output_from);

		if (sent == -EAGAIN)
			return 1;
		if (sent <= 0)
			return fail_because(err, EPIPE, "the peer cannot be reached any more: %s",
					    sent == 0 ? "it closed the connection" : self->transport.problem);
		self->output_from += (size_t) sent;
		self->bytes_sent += (uint64_t) sent;
	}
	return 0;
}

/* 1: wanted bytes are there, 0: later. */
static int fill(struct link *self, unsigned char *buffer, size_t *size, size_t wanted, struct error *err)
{
	while (*size < wanted) {
		ssize_t got = transport_read(&self->transport, buffer + *size, wanted - *size);

		if (got == -EAGAIN) {
			self->may_have_more = false;
			return 0;
		}
		if (got == 0)
			return fail_because(err, EPIPE, "the peer closed the connection");
		if (got < 0)
			return fail_because(err, EPIPE, "the connection to the peer is lost: %s", self->transport.problem);
		*size += (size_t) got;
		self->bytes_received += (uint64_t) got;
	}
	return 1;
}

int link_next(struct link *self, struct frame *ret_frame, struct error *err)
{
	size_t size;
	uint32_t type;
	int r = fill(self, self->header, &self->header_size, FRAME_HEADER_SIZE, err);

	if (r <= 0)
		return r;
	size = get_u32(self->header);
	type = get_u32(self->header + 4);
	if (frame_limit(type) == 0 || size > frame_limit(type))
		return fail_because(err, EPROTO, "the peer sent a frame of type %" PRIu32 " with %zu bytes", type, size);
	if (!make_room(&self->input, &self->input_capacity, size + 1))
		return fail_errno(err, ENOMEM, "receive %s", frame_name(type));
	r = fill(self, self->input, &self->input_size, size, err);
	if (r <= 0)
		return r;
	self->header_size = 0;
	self->input_size = 0;
	self->may_have_more = true;
	*ret_frame = (struct frame){.type = type, .size = size, .data = self->input};
	return 1;
}
