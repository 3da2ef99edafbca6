/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer sends: frames, and the messages in them. */
#include <sys/socket.h>
#include <unistd.h>

#include "checkpoint/frames.h"
#include "checkpoint/layer.h"
#include "checkpoint/metadata.h"
#include "checkpoint/sums.h"
#include "handoff.pb-c.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void look_at(const struct frame *frame)
{
	Hydra__V1__CheckpointMetadata *metadata;
	static unsigned char room[PAGES_PER_FRAME * PAGE_BYTES];
	const unsigned char *pages;
	struct page_frame head;
	struct error err;

	for (int is_sealed = 0; is_sealed < 2; is_sealed++) {
		if (page_frame_open(frame, is_sealed != 0, &head, &err) == 0)
			(void) page_frame_unpack(frame, &head, room, &pages, &err);
	}
	hydra__v1__handoff_hello__free_unpacked(hydra__v1__handoff_hello__unpack(NULL, frame->size, frame->data), NULL);
	hydra__v1__handoff_offer__free_unpacked(hydra__v1__handoff_offer__unpack(NULL, frame->size, frame->data), NULL);
	hydra__v1__handoff_answer__free_unpacked(hydra__v1__handoff_answer__unpack(NULL, frame->size, frame->data), NULL);
	hydra__v1__handoff_sums__free_unpacked(sums_of_frame(frame), NULL);
	hydra__v1__handoff_stage__free_unpacked(hydra__v1__handoff_stage__unpack(NULL, frame->size, frame->data), NULL);
	if (metadata_unpack(&metadata, frame->data, frame->size, &err) == 0)
		hydra__v1__checkpoint_metadata__free_unpacked(metadata, NULL);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct transport transport;
	struct link link;
	struct frame frame;
	struct error err;
	int pair[2];

	if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 0;
	if (write(pair[1], data, size) == (ssize_t) size && transport_open(&transport, &pair[0], true, NULL, 0, &err) == 0) {
		link_init(&link, &transport);
		while (link_next(&link, &frame, &err) == 1)
			look_at(&frame);
		link_deinit(&link);
	}
	(void) close(pair[1]);
	return 0;
}
