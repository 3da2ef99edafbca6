/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Target side: the second connection, for pages that tasks wait for. Nothing depends on it.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"

#define FRAMES_PER_TURN 4

void receive_drop_faults(struct receiver *self)
{
	self->pager.fault_link = NULL;
	event_loop_remove(&self->loop, &self->fault_source);
	link_deinit(&self->fault_link);
}

/* What is wrong here is no reason to give up: the first connection is there. */
void receive_handle_faults(struct event_source *source, uint32_t events)
{
	struct receiver *self = source->context;
	struct frame frame;
	struct error err;
	int r = 0;

	(void) events;
	for (int i = 0; i < FRAMES_PER_TURN && !self->has_failed && self->fault_link.transport.fd >= 0; i++) {
		r = link_next(&self->fault_link, &frame, &err);
		if (r <= 0)
			break;
		r = frame.type == FRAME_PAGES ? pager_receive(&self->pager, &frame, &err)
					      : fail_because(&err, EPROTO, "unexpected %s", frame_name(frame.type));
		if (r < 0)
			break;
	}
	if (r < 0 && !self->pager.has_failed) {
		log_warning("connection for faults lost", "container=%s reason=\"%s\"", self->offer->container_id, err.message);
		receive_drop_faults(self);
		pager_set_fault_link(&self->pager, NULL);
	}
}

void receive_take_faults(struct receiver *self, int fd)
{
	struct transport transport;
	struct error err;

	receive_drop_faults(self);
	if (self->is_source_lost || transport_open(&transport, &fd, true, NULL, self->spec->patience_ms, &err) < 0) {
		if (fd >= 0)
			(void) close(fd);
		return;
	}
	link_init(&self->fault_link, &transport);
	if (event_loop_add(&self->loop, &self->fault_source, self->fault_link.transport.fd, EPOLLIN, &err) < 0)
		receive_drop_faults(self);
	else
		pager_set_fault_link(&self->pager, &self->fault_link);
}

void receive_flush_faults(struct receiver *self)
{
	struct link *link = &self->fault_link;
	struct error err;
	int r;

	if (link->transport.fd < 0)
		return;
	r = link_flush(link, &err);
	if (r < 0) {
		receive_drop_faults(self);
		pager_set_fault_link(&self->pager, NULL);
		return;
	}
	event_loop_modify(&self->loop, &self->fault_source, EPOLLIN | (r == 1 || link->transport.wants_write ? EPOLLOUT : 0));
}
