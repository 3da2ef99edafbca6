/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "checkpoint/frames.h"
#include "tests/unit/harness.h"

static _Alignas(8) unsigned char payload[sizeof(struct page_frame) + 2 * PAGE_BYTES];

static struct frame make_pages(uint32_t count, uint32_t flags, size_t size)
{
	struct page_frame head = {.address = 0x7000, .task = 1, .count = count, .flags = flags};

	memset(payload, 0x5a, sizeof(payload));
	memcpy(payload, &head, sizeof(head));
	page_frame_seal(payload, size);
	return (struct frame){.type = FRAME_PAGES, .size = size, .data = payload};
}

TEST(sealed_pages_can_be_opened)
{
	struct frame frame = make_pages(2, PAGE_FLAG_URGENT, sizeof(payload));
	struct page_frame head;
	struct error err;

	CHECK(page_frame_open(&frame, true, &head, &err) == 0);
	CHECK(head.address == 0x7000 && head.task == 1 && head.count == 2 && head.flags == PAGE_FLAG_URGENT);
}

TEST(a_damaged_byte_is_noticed_wherever_it_is)
{
	struct frame frame = make_pages(2, 0, sizeof(payload));
	struct page_frame head;
	struct error err;

	for (size_t at = 0; at < sizeof(payload); at++) {
		payload[at] ^= 0x10;
		CHECK(page_frame_open(&frame, true, &head, &err) == -EBADMSG);
		payload[at] ^= 0x10;
	}
	CHECK(page_frame_open(&frame, true, &head, &err) == 0);
}

TEST(a_source_without_checksums_is_taken_at_its_word)
{
	struct frame frame = make_pages(2, 0, sizeof(payload));
	struct page_frame head;
	struct error err;

	payload[sizeof(payload) - 1] ^= 1;
	CHECK(page_frame_open(&frame, true, &head, &err) == -EBADMSG);
	CHECK(page_frame_open(&frame, false, &head, &err) == 0);
}

TEST(pages_of_another_size_than_they_say_are_refused)
{
	struct page_frame head;
	struct error err;
	struct frame frame = make_pages(3, 0, sizeof(payload));

	CHECK(page_frame_open(&frame, true, &head, &err) == -EPROTO);
	frame = make_pages(0, 0, sizeof(head));
	CHECK(page_frame_open(&frame, true, &head, &err) == -EPROTO);
	frame = make_pages(PAGES_PER_FRAME + 1, PAGE_FLAG_ZERO, sizeof(head));
	CHECK(page_frame_open(&frame, true, &head, &err) == -EPROTO);
	frame = make_pages(2, PAGE_FLAG_ZERO, sizeof(payload));
	CHECK(page_frame_open(&frame, true, &head, &err) == -EPROTO);
	frame = make_pages(PAGES_PER_FRAME, PAGE_FLAG_ZERO, sizeof(head));
	CHECK(page_frame_open(&frame, true, &head, &err) == 0);
	frame.size = 7;
	CHECK(page_frame_open(&frame, true, &head, &err) == -EPROTO);
}

TEST(pages_that_end_behind_the_last_address_are_refused)
{
	struct page_frame head = {.address = UINT64_MAX - PAGE_BYTES + 1, .count = 2, .flags = PAGE_FLAG_ZERO};
	struct frame frame = {.type = FRAME_PAGES, .size = sizeof(head), .data = (unsigned char *) &head};
	struct error err;

	CHECK(page_frame_open(&frame, false, &head, &err) == -EPROTO);
}
