/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames over a transport: {u32 length of what follows the header, u32 type}, little endian, then a message of
 * proto/handoff.proto or raw bytes. Nothing longer than its type allows is accepted.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/compress.h"
#include "checkpoint/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_SIZE 8
#define FRAME_DATA_MAX    (1U << 20)
#define PAGE_BYTES        4096U
#define PAGES_PER_FRAME   64U

enum frame_type {
	FRAME_HELLO = 1,    /* both ways: HandoffHello */
	FRAME_OFFER,        /* source: HandoffOffer */
	FRAME_ANSWER,       /* target: HandoffAnswer */
	FRAME_LAYER_ENTRY,  /* source: LayerEntry */
	FRAME_LAYER_DATA,   /* source: u64 offset, bytes; of the entry before */
	FRAME_LAYER_DONE,   /* source: one pass is complete; empty */
	FRAME_IMAGE,        /* source: HandoffImage, its bytes follow as IMAGE_DATA */
	FRAME_IMAGE_DATA,
	FRAME_IMAGES_DONE,
	FRAME_PREPARED,     /* target: HandoffStage; its tasks exist and do not run */
	FRAME_GO,           /* source: HandoffStage; it has durably given the container away */
	FRAME_RUNNING,      /* target: HandoffStage */
	FRAME_PAGE_REQUEST, /* target: struct page_frame */
	FRAME_PAGES,        /* source: struct page_frame, pages */
	FRAME_DONE,         /* target: HandoffStage; every page has arrived */
	FRAME_ABORT,        /* both ways: HandoffStage with the reason; only before GO */
	FRAME_ACKNOWLEDGED, /* both ways: HandoffStage; LAYER_DONE, DONE and the images of a ROUND were carried out */
	FRAME_VERDICT,      /* target: HandoffVerdict; answers QUERY, LOST, and RESUME when there is nothing to go on with */
	FRAME_ROUND,        /* source: HandoffStage; pages is the number of a round of pre-copy, whose images follow; 0: no more */
	FRAME_PACKET,       /* source: what was said to the container while it stood still (checkpoint/packets.h) */
	FRAME_WORKING,      /* target: empty; it computes, and is neither done nor dead */
	FRAME_TYPE_COUNT,
};

#define PAGE_FLAG_URGENT 1U /* somebody waits */
#define PAGE_FLAG_ZERO   2U /* in an answer: all of the pages are empty, no bytes follow */
#define PAGE_FLAG_LZ4    4U /* in an answer: what follows is compressed */
#define PAGE_FLAG_ZSTD   8U

struct page_frame {
	uint64_t address; /* at the source when it was frozen */
	uint32_t task;    /* pid in the container */
	uint32_t count;
	uint32_t flags;
	uint32_t checksum; /* PAGES: CRC-32C of head and pages with 0 here, from a source with HANDOFF_CHECKSUMS */
};

struct frame {
	enum frame_type type;
	size_t size;
	unsigned char *data; /* valid until the next call on the link */
};

struct link {
	struct transport transport;
	unsigned char header[FRAME_HEADER_SIZE];
	size_t header_size;
	unsigned char *input;
	size_t input_capacity, input_size;
	unsigned char *output;
	size_t output_capacity, output_from, output_to;
	bool may_have_more;    /* input may be buffered although the descriptor is not readable */
	uint64_t bytes_sent, bytes_received;
};

/* Takes the transport. */
void link_init(struct link *self, struct transport *transport);
void link_deinit(struct link *self);

/* Room for a frame's payload, to be filled before the next call. NULL: out of memory. */
void *link_reserve(struct link *self, enum frame_type type, size_t size);
/* Takes back the end of the frame that was reserved last. */
void link_shrink(struct link *self, enum frame_type type, size_t reserved, size_t size);
int link_queue(struct link *self, enum frame_type type, const void *data, size_t size, struct error *err);
/* A message of protobuf-c. */
int link_queue_message(struct link *self, enum frame_type type, const void *message, struct error *err);
size_t link_queued(const struct link *self);

/* 0: all is out, 1: the rest has to wait until the descriptor is writable. */
int link_flush(struct link *self, struct error *err);
/* 1: *ret_frame, 0: not complete yet, -EPIPE: the peer closed, -EPROTO: it does not speak our language. */
int link_next(struct link *self, struct frame *ret_frame, struct error *err);

/* Gives the payload of a PAGES frame, complete with its head, its checksum. */
void page_frame_seal(void *payload, size_t size);
/* The head of a PAGES frame that is well formed; with is_sealed its checksum is right. -EPROTO: it makes no sense,
 * -EBADMSG: it was damaged on its way. Both are reasons to close the connection and to ask again over another one. */
int page_frame_open(const struct frame *frame, bool is_sealed, struct page_frame *ret_head, struct error *err);
enum compress_method page_frame_method(const struct page_frame *head);
/* The pages of a frame that was opened; NULL: they are empty. room is for PAGES_PER_FRAME of them. -EBADMSG as above. */
int page_frame_unpack(const struct frame *frame, const struct page_frame *head, unsigned char *room,
		      const unsigned char **ret_pages, struct error *err);

/* The longest payload a type may have; 0: there is no such type. */
size_t frame_limit(uint32_t type);
const char *frame_name(enum frame_type type);
