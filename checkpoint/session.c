/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "base/owned.h"
#include "handoff.pb-c.h"

#define FAREWELL_MS 2000

static sigset_t watched_signals(void)
{
	sigset_t mask;

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGTERM);
	(void) sigaddset(&mask, SIGINT);
	(void) sigaddset(&mask, SIGHUP);
	return mask;
}

int session_block_signals(sigset_t *ret_before, struct error *err)
{
	sigset_t mask = watched_signals();

	return sigprocmask(SIG_BLOCK, &mask, ret_before) < 0 ? fail_errno(err, errno, "block signals") : 0;
}

static int watch_signals(struct session *self, struct error *err)
{
	sigset_t mask = watched_signals();

	if (session_block_signals(NULL, err) < 0)
		return err->code;
	(void) signal(SIGPIPE, SIG_IGN);
	self->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return self->signal_fd < 0 ? fail_errno(err, errno, "watch signals") : 0;
}

int session_open(struct session *self, int *connection_fd, bool is_server, const struct transport_files *files,
		 int patience_ms, struct error *err)
{
	struct transport transport;
	int r;

	*self = (struct session){.signal_fd = FD_NONE, .patience_ms = patience_ms, .deadline_ns = self->deadline_ns,
				 .deadline_name = self->deadline_name};
	self->link.transport.fd = FD_NONE;
	r = watch_signals(self, err);
	if (r == 0)
		r = transport_open(&transport, connection_fd, is_server, files, patience_ms, err);
	if (r == 0)
		link_init(&self->link, &transport);
	else
		session_close(self);
	return r;
}

int link_drain(struct link *self, int timeout_ms, struct error *err)
{
	int r;

	while ((r = link_flush(self, err)) == 1) {
		struct pollfd event = {.fd = self->transport.fd, .events = POLLOUT};

		if (poll(&event, 1, timeout_ms) == 0)
			return fail_because(err, ETIMEDOUT, "the other host takes nothing");
	}
	return r;
}

void session_close(struct session *self)
{
	link_deinit(&self->link);
	owned_fd_release(&self->signal_fd);
	self->signal_fd = FD_NONE;
}

bool session_was_cancelled(struct session *self)
{
	struct signalfd_siginfo signal;

	while (self->signal_fd >= 0 && read(self->signal_fd, &signal, sizeof(signal)) == (ssize_t) sizeof(signal))
		self->is_cancelled = true;
	return self->is_cancelled;
}

int session_refused(struct session *self, const struct frame *frame, struct error *err)
{
	Hydra__V1__HandoffStage *stage = hydra__v1__handoff_stage__unpack(NULL, frame->size, frame->data);

	self->was_refused = true;
	(void) fail_because(err, EREMOTEIO, "the other host refused: %.300s", stage != NULL ? stage->message : "no reason given");
	hydra__v1__handoff_stage__free_unpacked(stage, NULL);
	return err->code;
}

int session_check_deadline(const struct session *self, struct error *err)
{
	if (self->deadline_ns == 0 || clock_monotonic_ns() < self->deadline_ns)
		return 0;
	return fail_because(err, ETIMEDOUT, "it took longer than it may (deadline '%s')", self->deadline_name);
}

/* At most so long. */
static int until_deadline(const struct session *self, int timeout_ms)
{
	uint64_t now = clock_monotonic_ns(), left_ms;

	if (self->deadline_ns == 0)
		return timeout_ms;
	left_ms = self->deadline_ns > now ? (self->deadline_ns - now) / NS_PER_MS + 1 : 0;
	return timeout_ms < 0 || left_ms < (uint64_t) timeout_ms ? (int) left_ms : timeout_ms;
}

/* One wait: for the link (always to hear a refusal, to write when there is something), a signal, fd (may be FD_NONE).
 * 1: something happened, 0: the time is over. */
static int wait_once(struct session *self, int fd, int timeout_ms, struct error *err)
{
	bool has_output = link_queued(&self->link) > 0 || self->link.transport.wants_write;
	struct pollfd events[] = {
		{.fd = self->link.transport.fd, .events = (short) (POLLIN | (has_output ? POLLOUT : 0))},
		{.fd = self->signal_fd, .events = POLLIN},
		{.fd = fd, .events = POLLIN},
	};
	int limit_ms = until_deadline(self, timeout_ms);
	int r = poll(events, 3, limit_ms);

	if (r < 0 && errno != EINTR)
		return fail_errno(err, errno, "wait");
	if (session_check_deadline(self, err) < 0)
		return err->code;
	if (r == 0 && limit_ms != timeout_ms)
		r = 1; /* not the time that was meant */
	if (session_was_cancelled(self))
		return fail_because(err, ECANCELED, "the migration was cancelled");
	return r != 0;
}

static int too_long(struct session *self, struct error *err)
{
	return fail_because(err, ETIMEDOUT, "the other host did not answer for %d s", self->patience_ms / 1000);
}

/* A refusal may be behind a connection that cannot be written to any more. */
static int explain_loss(struct session *self, struct error *err)
{
	struct error ignored;
	struct frame frame;

	if (link_next(&self->link, &frame, &ignored) == 1 && frame.type == FRAME_ABORT)
		return session_refused(self, &frame, err);
	return err->code;
}

/* No frame belongs here but the one that says why it is over. */
static int expect_silence(struct session *self, struct error *err)
{
	struct frame frame;
	int r = link_next(&self->link, &frame, err);

	if (r != 1)
		return r;
	return frame.type == FRAME_ABORT ? session_refused(self, &frame, err)
					 : fail_because(err, EPROTO, "unexpected %s", frame_name(frame.type));
}

int session_flush(struct session *self, size_t rest, struct error *err)
{
	for (;;) {
		size_t before = link_queued(&self->link);
		int r = link_flush(&self->link, err);

		if (r < 0)
			return explain_loss(self, err);
		if (link_queued(&self->link) <= rest)
			return 0;
		r = wait_once(self, FD_NONE, self->patience_ms, err);
		if (r == 0 && link_queued(&self->link) == before)
			r = too_long(self, err);
		if (r < 0)
			return r;
		r = expect_silence(self, err);
		if (r < 0)
			return r;
	}
}

int session_next(struct session *self, struct frame *ret_frame, struct error *err)
{
	int r = session_flush(self, 0, err);

	while (r == 0) {
		uint64_t received = self->link.bytes_received;

		r = link_next(&self->link, ret_frame, err);
		if (r == 1)
			return ret_frame->type == FRAME_ABORT ? session_refused(self, ret_frame, err) : 0;
		if (r < 0)
			return r;
		r = wait_once(self, FD_NONE, self->patience_ms, err);
		if (r == 0 && self->link.bytes_received == received)
			return too_long(self, err);
		r = r < 0 ? r : 0;
	}
	return r;
}

int session_expect(struct session *self, enum frame_type type, struct frame *ret_frame, struct error *err)
{
	int r = session_next(self, ret_frame, err);

	if (r == 0 && ret_frame->type != type)
		return fail_because(err, EPROTO, "%s came where %s belongs", frame_name(ret_frame->type), frame_name(type));
	return r;
}

int session_await(struct session *self, enum frame_type type, struct frame *ret_frame, void (*working)(void *context), void *context,
		  struct error *err)
{
	int r;

	while ((r = session_next(self, ret_frame, err)) == 0 && ret_frame->type == FRAME_WORKING) {
		if (working != NULL)
			working(context);
	}
	if (r == 0 && ret_frame->type != type)
		return fail_because(err, EPROTO, "%s came where %s belongs", frame_name(ret_frame->type), frame_name(type));
	return r;
}

int session_wait_fd(struct session *self, int fd, struct error *err)
{
	for (;;) {
		struct pollfd event = {.fd = fd, .events = POLLIN};
		int r;

		if (poll(&event, 1, 0) > 0)
			return 0;
		r = wait_once(self, fd, -1, err);
		if (r < 0)
			return r;
		r = expect_silence(self, err);
		if (r < 0)
			return r;
	}
}

void session_linger(struct session *self)
{
	uint64_t end = clock_monotonic_ns() + FAREWELL_MS * NS_PER_MS;
	struct error err;
	struct frame frame;

	while (clock_monotonic_ns() < end && link_flush(&self->link, &err) >= 0) {
		struct pollfd event = {.fd = self->link.transport.fd, .events = POLLIN};

		event.events = (short) (event.events | (link_queued(&self->link) > 0 ? POLLOUT : 0));
		(void) poll(&event, 1, 100);
		while (clock_monotonic_ns() < end) {
			int r = link_next(&self->link, &frame, &err);

			if (r < 0)
				return;
			if (r == 0)
				break;
		}
	}
}

void session_abort(struct session *self, const char *reason)
{
	struct error err;

	if (self->link.transport.fd >= 0 && !self->was_refused && session_say(self, FRAME_ABORT, 0, reason, &err) == 0)
		session_linger(self);
}

int session_say(struct session *self, enum frame_type type, unsigned long long epoch, const char *message, struct error *err)
{
	Hydra__V1__HandoffStage stage = HYDRA__V1__HANDOFF_STAGE__INIT;

	stage.epoch = epoch;
	stage.message = (char *) (uintptr_t) message;
	return link_queue_message(&self->link, type, &stage, err);
}

int session_say_sums(struct session *self, enum frame_type type, unsigned long long epoch, Hydra__V1__HandoffSums *sums, struct error *err)
{
	Hydra__V1__HandoffStage stage = HYDRA__V1__HANDOFF_STAGE__INIT;

	stage.epoch = epoch;
	stage.sums = sums;
	return link_queue_message(&self->link, type, &stage, err);
}
