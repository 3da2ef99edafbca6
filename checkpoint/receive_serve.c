/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From complete images to the last page: one event loop over the source, the restore process, CRIU's page socket and
 * the userfaultfds.
 *
 *   RESTORING --restore says PREPARED--> PREPARED --source says GO--> COMMITTED --restore says RUNNING--> PAGING
 *
 * Up to PREPARED everything that goes wrong is answered with a veto. From COMMITTED on the tasks are ours: without the
 * source they wait for their pages, and this process keeps their userfaultfds open.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/sums.h"
#include "state/volumes_made.h"

#define FRAMES_PER_TURN 64
#define BYTES_PER_TURN  (1U << 20) /* others have to have their turn */
#define FAREWELL_S      10
#define SERVICE_S       3
#define SHAPE_S         5

static void fail(struct receiver *self, const struct error *err)
{
	if (!self->has_failed)
		self->error = *err;
	self->has_failed = true;
}

static void lose_source(struct receiver *self, const struct error *err)
{
	if (self->stage < STAGE_COMMITTED) {
		fail(self, err);
		return;
	}
	if (self->is_source_lost)
		return;
	self->is_source_lost = true;
	receive_drop_faults(self);
	event_loop_remove(&self->loop, &self->link_source);
	transport_close(&self->session.link.transport);
	if (self->stage == STAGE_COMPLETE)
		return; /* it has done its part */
	progress_phase(&self->progress, TARGET_SOURCE_LOST, err->message, NULL);
	log_warning("source lost; tasks wait for the pages they miss", "container=%s missing=%llu reason=\"%s\"",
		    self->offer->container_id,
		    (unsigned long long) (self->pager.pages_total - self->pager.pages_done), err->message);
}

/* It asks over another connection what became of it, or says that there is no memory to come any more. */
static void lose_source_for_good(struct receiver *self, const struct local_message *message)
{
	bool is_lost = message->kind == LOCAL_LOST;
	struct error err;

	(void) fail_because(&err, EPIPE, is_lost ? "the source has lost the container's memory" : "the source has lost its connection");
	if (self->stage < STAGE_COMMITTED)
		fail(self, &err);
	else if (is_lost && self->stage < STAGE_COMPLETE)
		receive_lose_memory(self, (enum local_loss) message->value);
}

static void tell_restore(struct receiver *self, enum local_kind kind, const char *text)
{
	struct error err;

	if (self->restore_fd >= 0 && local_send(self->restore_fd, kind, kind == LOCAL_START && !mode_is_lazy(self->mode), text, FD_NONE, &err) < 0)
		fail(self, &err);
}

static void handle_prepared(struct receiver *self)
{
	struct error err;

	fault_point("receive.prepared");
	self->stage = STAGE_PREPARED;
	progress_phase(&self->progress, TARGET_PREPARED, NULL, NULL);
	if (session_say(&self->session, FRAME_PREPARED, self->offer->epoch, NULL, &err) < 0 ||
	    pager_prefetch_small(&self->pager, &err) < 0)
		fail(self, &err);
}

static void handle_running(struct receiver *self, const struct local_message *message)
{
	auto_free char *extra = text_format(",\"pid\":%d", message->value);
	struct error err;

	self->stage = STAGE_PAGING;
	self->pager.is_restored |= !mode_is_lazy(self->mode); /* else CRIU tells */
	self->running_ns = clock_monotonic_ns();
	self->init = message->value;
	receive_give_packets(self, message->text);
	volumes_made_keep(self->work);
	progress_phase(&self->progress, TARGET_PAGING, NULL, extra);
	if (!self->is_source_lost && session_say(&self->session, FRAME_RUNNING, self->offer->epoch, NULL, &err) < 0)
		lose_source(self, &err);
}

static void handle_go(struct receiver *self)
{
	struct error err;

	if (self->stage != STAGE_PREPARED) {
		(void) fail_because(&err, EPROTO, "GO came at the wrong time");
		fail(self, &err);
		return;
	}
	if (verdict_write(&self->verdict, &self->record, HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED, &err) < 0) {
		fail(self, &err);
		return;
	}
	self->stage = STAGE_COMMITTED;
	fault_point("receive.committed");
	progress_phase(&self->progress, TARGET_COMMITTED, NULL, NULL);
	tell_restore(self, LOCAL_GO, NULL);
}

static void handle_restore_message(struct receiver *self, const struct local_message *message, int *fd)
{
	struct error err;

	switch (message->kind) {
	case LOCAL_HELLO:
		if (*fd >= 0)
			pager_set_keeper(&self->pager, take_fd(fd));
		if (carried_sinks_pass(&self->carried, self->restore_fd, &err) < 0)
			fail(self, &err);
		tell_restore(self, LOCAL_START, self->images);
		break;
	case LOCAL_PREPARED:
		if (self->stage == STAGE_RESTORING)
			handle_prepared(self);
		break;
	case LOCAL_RUNNING:
		handle_running(self, message);
		break;
	case LOCAL_FAILED:
		(void) fail_because(&err, EIO, "%s", message->text);
		fail(self, &err);
		break;
	default:
		(void) fail_because(&err, EPROTO, "the restore process says something unknown");
		fail(self, &err);
		break;
	}
}

static void handle_restore(struct event_source *source, uint32_t events)
{
	struct receiver *self = source->context;
	struct local_message message;
	auto_close int fd = FD_NONE;
	struct error err;

	(void) events;
	if (local_receive(self->restore_fd, &message, &fd, &err) == 0) {
		handle_restore_message(self, &message, &fd);
		return;
	}
	event_loop_remove(&self->loop, &self->restore_source);
	owned_fd_release(&self->restore_fd);
	self->restore_fd = FD_NONE;
	if (self->stage >= STAGE_PAGING)
		return; /* its work is done */
	(void) fail_because(&err, EPIPE, "the restore process died");
	fail(self, &err);
}

static void take_link(struct receiver *self, int fd, uint64_t capabilities);

static void greet_restore(struct receiver *self, const struct local_message *message, int *fd, int *passed)
{
	struct error err;

	if (self->stage != STAGE_RESTORING || self->restore_fd >= 0)
		return;
	self->restore_fd = take_fd(fd);
	if (event_loop_add(&self->loop, &self->restore_source, self->restore_fd, EPOLLIN, &err) < 0)
		fail(self, &err);
	handle_restore_message(self, message, passed);
}

/* The restore process, or a worker that brings another connection to the source. */
static void handle_listen(struct event_source *source, uint32_t events)
{
	struct receiver *self = source->context;
	auto_close int fd = accept4(self->listen_fd, NULL, NULL, SOCK_CLOEXEC), passed = FD_NONE;
	struct local_message message;
	struct error err;

	(void) events;
	if (fd < 0 || !socket_peer_is_trusted(fd) || local_receive(fd, &message, &passed, &err) < 0)
		return;
	if (message.kind == LOCAL_HELLO)
		greet_restore(self, &message, &fd, &passed);
	else if (message.kind == LOCAL_RESUME && passed >= 0 && self->stage >= STAGE_COMMITTED)
		take_link(self, take_fd(&passed), (uint64_t) message.value);
	else if (message.kind == LOCAL_FAULTS && passed >= 0)
		receive_take_faults(self, take_fd(&passed));
	else if (message.kind == LOCAL_ASKED || message.kind == LOCAL_LOST)
		lose_source_for_good(self, &message);
}

/* What only the source knows. */
static void take_sums(struct receiver *self, const struct frame *frame)
{
	Hydra__V1__HandoffSums *theirs = sums_of_frame(frame);

	if (theirs != NULL && self->sums != NULL)
		self->sums->downtime_us = theirs->downtime_us;
	hydra__v1__handoff_sums__free_unpacked(theirs, NULL);
}

static void handle_source_frame(struct receiver *self, const struct frame *frame)
{
	struct error err;
	int r = 0;

	switch (frame->type) {
	case FRAME_PAGES:
		r = pager_receive(&self->pager, frame, &err);
		break;
	case FRAME_GO:
		handle_go(self);
		break;
	case FRAME_PACKET:
		receive_packet(self, frame);
		break;
	case FRAME_ABORT:
		r = session_refused(&self->session, frame, &err);
		break;
	case FRAME_ACKNOWLEDGED:
		self->is_acknowledged = true;
		take_sums(self, frame);
		break;
	default:
		r = fail_because(&err, EPROTO, "unexpected %s", frame_name(frame->type));
		break;
	}
	if (r == -EPROTO || r == -EBADMSG || frame->type == FRAME_ABORT)
		lose_source(self, &err);
	else if (r < 0)
		fail(self, &err);
}

static void handle_link(struct event_source *source, uint32_t events)
{
	struct receiver *self = source->context;
	struct link *link = &self->session.link;

	(void) events;
	for (size_t i = 0, bytes = 0; i < FRAMES_PER_TURN && bytes < BYTES_PER_TURN && !self->has_failed && !self->is_source_lost; i++) {
		struct frame frame;
		struct error err;
		int r = link_next(link, &frame, &err);

		if (r < 0)
			lose_source(self, &err);
		if (r <= 0)
			return;
		bytes += frame.size;
		handle_source_frame(self, &frame);
	}
}

static void handle_signal(struct event_source *source, uint32_t events)
{
	struct receiver *self = source->context;
	struct error err;

	(void) events;
	if (!session_was_cancelled(&self->session))
		return;
	if (self->stage >= STAGE_COMMITTED) {
		log_warning("too late to cancel; pages are still coming", NULL);
		return;
	}
	(void) fail_because(&err, ECANCELED, "the migration was cancelled at the target");
	fail(self, &err);
}

static bool has_checksums(uint64_t capabilities)
{
	return (capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_CHECKSUMS) != 0;
}

/* A new connection to the same source: whatever was under way is asked for again. */
static void take_link(struct receiver *self, int fd, uint64_t capabilities)
{
	struct transport transport;
	struct error err;

	event_loop_remove(&self->loop, &self->link_source);
	receive_drop_faults(self);
	link_deinit(&self->session.link);
	if (transport_open(&transport, &fd, true, NULL, self->spec->patience_ms, &err) < 0) {
		log_warning("new connection to the source is of no use", "reason=\"%s\"", err.message);
		return;
	}
	link_init(&self->session.link, &transport);
	self->is_source_lost = false;
	self->pager.is_sealed = has_checksums(capabilities);
	if (event_loop_add(&self->loop, &self->link_source, self->session.link.transport.fd, EPOLLIN, &err) < 0 ||
	    receive_say_hello(self, &err) < 0 ||
	    session_say_sums(&self->session, self->is_done_said ? FRAME_DONE : FRAME_RUNNING, self->offer->epoch, self->sums, &err) < 0) {
		lose_source(self, &err);
		return;
	}
	pager_ask_again(&self->pager);
	progress_phase(&self->progress, TARGET_PAGING, "connected to the source again", NULL);
}

int receive_add_sources(struct receiver *self, struct error *err)
{
	int r;

	self->listen_source = (struct event_source){.handle = handle_listen, .context = self, .fd = FD_NONE};
	self->restore_source = (struct event_source){.handle = handle_restore, .context = self, .fd = FD_NONE};
	self->link_source = (struct event_source){.handle = handle_link, .context = self, .fd = FD_NONE};
	self->fault_source = (struct event_source){.handle = receive_handle_faults, .context = self, .fd = FD_NONE};
	self->signal_source = (struct event_source){.handle = handle_signal, .context = self, .fd = FD_NONE};
	r = event_loop_add(&self->loop, &self->listen_source, self->listen_fd, EPOLLIN, err);
	if (r == 0 && !self->is_source_lost)
		r = event_loop_add(&self->loop, &self->link_source, self->session.link.transport.fd, EPOLLIN, err);
	if (r == 0 && self->session.signal_fd >= 0)
		r = event_loop_add(&self->loop, &self->signal_source, self->session.signal_fd, EPOLLIN, err);
	return r;
}

/* Sends what is queued; asks for more. */
static void pump(struct receiver *self)
{
	struct link *link = &self->session.link;
	struct error err;
	int r;

	if (self->pager.has_failed)
		fail(self, &self->pager.error);
	if (self->is_source_lost || self->has_failed)
		return;
	r = self->stage >= STAGE_PAGING && self->stage < STAGE_COMPLETE ? pager_prefetch(&self->pager, &err) : 0;
	if (r == 0)
		r = link_flush(link, &err);
	if (r < 0) {
		lose_source(self, &err);
		return;
	}
	receive_flush_faults(self);
	event_loop_modify(&self->loop, &self->link_source, EPOLLIN | (r == 1 || link->transport.wants_write ? EPOLLOUT : 0));
	self->progress.pages_done = self->pager.pages_done;
	self->progress.pages_total = self->pager.pages_total;
	self->progress.faults = self->pager.fault_count;
	self->progress.bytes_sent = link->bytes_received + self->fault_link.bytes_received;
	progress_update(&self->progress);
}

static void complete(struct receiver *self)
{
	struct error err;

	self->stage = STAGE_COMPLETE;
	self->complete_ns = clock_monotonic_ns();
	(void) verdict_write(&self->verdict, &self->record, HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE, &err);
	fault_point("receive.complete");
	if (self->sums == NULL)
		self->sums = sums_of_pager(&self->pager, self->running_ns > 0 ? (self->complete_ns - self->running_ns) / NS_PER_US : 0);
}

static bool is_getting_in_shape(const struct receiver *self)
{
	return self->stage == STAGE_COMPLETE && !self->is_in_shape;
}

/* Huge pages, one a turn, for at most SHAPE_S longer than the memory took to come: the kernel does the rest in its own time. Only then
 * the userfaultfds are let go, and the container may be moved on. */
static void get_in_shape(struct receiver *self)
{
	uint64_t now = clock_monotonic_ns();

	if (!is_getting_in_shape(self))
		return;
	if (now - self->complete_ns < self->complete_ns - self->running_ns + SHAPE_S * NS_PER_S && pager_collapse_next(&self->pager, self->init))
		return;
	self->is_in_shape = true;
	self->complete_ns = now;
	pager_complete(&self->pager);
}

/* What the source is told to be done is in service here: the shim lets go when it is. One that is just being replaced is not waited for
 * longer than need be. */
static void say_done(struct receiver *self)
{
	bool is_late = clock_monotonic_ns() - self->complete_ns > SERVICE_S * NS_PER_S;
	struct error err;

	if (!self->is_in_shape || (!pager_is_finished(&self->pager) && !is_late))
		return;
	if (is_late && !pager_is_finished(&self->pager)) /* a shim that died may have been the one that heard it */
		pager_complete(&self->pager);
	if (self->is_done_said)
		return;
	self->is_done_said = true;
	if (pager_is_finished(&self->pager)) /* nobody can need them any more, and we may be killed before we end */
		(void) dir_remove_all(AT_FDCWD, self->images, &err);
	if (!self->is_source_lost && session_say_sums(&self->session, FRAME_DONE, self->offer->epoch, self->sums, &err) == 0)
		(void) link_flush(&self->session.link, &err);
}

/* The keeper has let go, and the source knows that it may bury its copy (or takes too long to say so). */
static bool is_over(const struct receiver *self)
{
	bool is_known = self->is_acknowledged || self->is_source_lost ||
			clock_monotonic_ns() - self->complete_ns > FAREWELL_S * NS_PER_S;

	return self->is_in_shape && pager_is_finished(&self->pager) && is_known;
}

int receive_turn_until_over(struct receiver *self, struct error *err)
{
	uint64_t end = clock_monotonic_ns() + (uint64_t) self->spec->restore_ms * NS_PER_MS;

	while (!self->has_failed && !is_over(self)) {
		bool has_faults = self->fault_link.transport.fd >= 0 && self->fault_link.may_have_more;
		bool has_input = self->session.link.may_have_more && !self->is_source_lost;
		struct error late;

		bool is_placing = self->stage == STAGE_PAGING && pager_place_local(&self->pager);

		event_loop_turn(&self->loop, has_input || has_faults || is_placing || is_getting_in_shape(self) ? 0 : 1000);
		if (has_faults)
			receive_handle_faults(&self->fault_source, 0);
		if (has_input)
			handle_link(&self->link_source, 0);
		pump(self);
		if (self->stage == STAGE_PAGING && pager_is_complete(&self->pager) && !self->has_failed)
			complete(self);
		get_in_shape(self);
		say_done(self);
		if (self->stage < STAGE_COMMITTED && clock_monotonic_ns() > end) {
			(void) fail_because(&late, ETIMEDOUT, self->restore_fd < 0 ? "nobody restored the container within %d s"
					    : "the restore took longer than %d s", self->spec->restore_ms / 1000);
			fail(self, &late);
		}
		if (self->is_source_lost) /* nothing else would tell that they have ended */
			pager_check_tasks(&self->pager);
	}
	return self->has_failed ? (*err = self->error, err->code) : 0;
}

int receive_serve(struct receiver *self, struct error *err)
{
	struct pager_places places = {.images = self->images, .folder = self->work};
	int r = event_loop_init(&self->loop, err);

	if (r < 0)
		return r;
	self->stage = STAGE_RESTORING;
	r = pager_start(&self->pager, &self->loop, &self->session.link, &places, err);
	self->pager.is_sealed = has_checksums(self->hello->capabilities);
	if (r == 0)
		r = receive_add_sources(self, err);
	progress_phase(&self->progress, TARGET_RESTORE, NULL, NULL);
	return r == 0 ? receive_turn_until_over(self, err) : r;
}
