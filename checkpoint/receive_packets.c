/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Target side: what was said to the container while it stood still. It waits here until the tasks run; what the source hears after that
 * is given at once.
 */
#include "checkpoint/receive.h"

#include "base/log.h"

void receive_packet(struct receiver *self, const struct frame *frame)
{
	if (self->packets_fd >= 0)
		packets_give(self->packets_fd, frame->data, frame->size);
	else if (self->stage < STAGE_PAGING)
		packet_store_add(&self->packets, frame->data, frame->size);
}

void receive_give_packets(struct receiver *self, const char *veth)
{
	struct error err;

	if (veth[0] != '\0' && packets_open(veth, &self->packets_fd, &err) < 0)
		log_warning("packets lost", "container=%s reason=\"%s\"", self->offer->container_id, err.message);
	packet_store_give(&self->packets, self->packets_fd);
}
