/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to the target while the container is frozen: its tasks' pages go out, its decisions come in.
 */
#include "checkpoint/send.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "handoff.pb-c.h"

#define OUTPUT_BYTES    (512U << 10)
#define FRAMES_PER_TURN 64

static int connect_one(const struct addrinfo *address, int timeout_ms, int *ret_fd)
{
	auto_close int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd event = {.fd = fd, .events = POLLOUT};
	int problem = 0;
	socklen_t size = sizeof(problem);

	if (fd < 0)
		return -errno;
	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
		return -errno;
	if (poll(&event, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) < 0 || problem != 0)
		return problem != 0 ? -problem : -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int dial(const char *target, int timeout_ms, int *ret_fd, struct error *err)
{
	auto_free char *host = text_copy(target);
	char *colon = strrchr(host, ':');
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	int r;

	if (colon == NULL)
		return fail_because(err, EINVAL, "'%s' is not HOST:PORT", target);
	*colon = '\0';
	if (*host == '[' && colon[-1] == ']')
		colon[-1] = '\0';
	r = getaddrinfo(host + (*host == '['), colon + 1, &hints, &list);
	if (r != 0)
		return fail_because(err, ENOENT, "look up '%s': %s", target, gai_strerror(r));
	r = -ENOENT;
	for (const struct addrinfo *each = list; each != NULL && r < 0; each = each->ai_next)
		r = connect_one(each, timeout_ms, ret_fd);
	freeaddrinfo(list);
	return r < 0 ? fail_errno(err, -r, "connect to '%s'", target) : 0;
}

static int greet(struct sender_state *self, int purpose, struct error *err)
{
	Hydra__V1__HandoffHello hello = HYDRA__V1__HANDOFF_HELLO__INIT, *theirs;
	struct frame frame;
	int r;

	hello.version = SESSION_VERSION;
	hello.migration_id = (char *) (uintptr_t) self->spec->migration_id;
	hello.capabilities = SESSION_CAPABILITIES;
	hello.purpose = (Hydra__V1__HandoffPurpose) purpose;
	hello.program_version = (char *) (uintptr_t) HYDRA_VERSION;
	r = link_queue_message(&self->session.link, FRAME_HELLO, &hello, err);
	if (r == 0)
		r = session_expect(&self->session, FRAME_HELLO, &frame, err);
	if (r < 0)
		return r;
	theirs = hydra__v1__handoff_hello__unpack(NULL, frame.size, frame.data);
	if (theirs == NULL || theirs->version == 0)
		r = fail_because(err, EPROTO, "the target's greeting is not understood");
	else if (theirs->version != SESSION_VERSION)
		r = fail_because(err, EPROTO, "the target speaks version %u, we speak %d", theirs->version, SESSION_VERSION);
	hydra__v1__handoff_hello__free_unpacked(theirs, NULL);
	return r;
}

int send_connect(struct sender_state *self, int purpose, struct error *err)
{
	auto_close int fd = self->spec->connection_fd;
	int r = 0;

	if (self->spec->connect != NULL)
		r = dial(self->spec->connect, self->spec->patience_ms, &fd, err);
	if (r == 0)
		r = session_open(&self->session, &fd, false, &self->spec->files, self->spec->patience_ms, err);
	if (r == 0)
		r = greet(self, purpose, err);
	return r;
}

/* 1: it was the awaited one. */
static int handle_frame(struct sender_state *self, const struct frame *frame, enum frame_type until, struct error *err)
{
	switch (frame->type) {
	case FRAME_PAGE_REQUEST:
		return page_server_request(&self->pages, frame, err);
	case FRAME_RUNNING:
		self->is_running_there = true;
		progress_phase(&self->progress, "paging", "the container runs at the target", NULL);
		return 0;
	case FRAME_ABORT:
		return session_refused(&self->session, frame, err);
	default:
		if (frame->type == until)
			return 1;
		return fail_because(err, EPROTO, "unexpected %s", frame_name(frame->type));
	}
}

static int wait_for_something(struct sender_state *self, int timeout_ms, struct error *err)
{
	struct link *link = &self->session.link;
	bool has_output = link_queued(link) > 0 || link->transport.wants_write;
	struct pollfd events[] = {
		{.fd = link->transport.fd, .events = (short) (POLLIN | (has_output ? POLLOUT : 0))},
		{.fd = self->session.signal_fd, .events = POLLIN},
		{.fd = self->dump.worker.pidfd, .events = POLLIN},
	};

	if (poll(events, 3, timeout_ms) < 0 && errno != EINTR)
		return fail_errno(err, errno, "wait");
	if (session_was_cancelled(&self->session) && !self->is_committed)
		return fail_because(err, ECANCELED, "the migration was cancelled");
	if ((events[2].revents & POLLIN) != 0) {
		if (!self->is_committed)
			return fail_because(err, EIO, "CRIU died while it held the container");
		criu_worker_stop(&self->dump.worker); /* the tasks are stopped by signal too: nothing runs */
	}
	return 0;
}

int send_serve(struct sender_state *self, enum frame_type until, int timeout_ms, struct error *err)
{
	struct link *link = &self->session.link;
	uint64_t end = clock_monotonic_ns() + (uint64_t) timeout_ms * NS_PER_MS;

	for (;;) {
		struct frame frame;
		int r = page_server_produce(&self->pages, link, OUTPUT_BYTES, err);
		bool is_cut = r == 0 && link_flush(link, err) < 0; /* its last word may still be there to be read */

		for (int i = 0; i < FRAMES_PER_TURN && r == 0 && (r = link_next(link, &frame, err)) == 1; i++) {
			r = handle_frame(self, &frame, until, err);
			if (r != 0)
				return r < 0 ? r : 0;
		}
		if (r < 0 || is_cut)
			return r < 0 ? r : fail_because(err, EPIPE, "the connection to the target is lost");
		self->progress.pages_done = self->pages.pages_sent;
		self->progress.faults = self->pages.faults_asked;
		progress_update(&self->progress);
		if (timeout_ms > 0 && clock_monotonic_ns() > end)
			return fail_because(err, ETIMEDOUT, "the target did not get ready within %d s", timeout_ms / 1000);
		if (link->may_have_more || (link_queued(link) == 0 && page_server_has_work(&self->pages)))
			continue;
		r = wait_for_something(self, 1000, err);
		if (r < 0)
			return r;
	}
}
