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
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/sums.h"
#include "handoff.pb-c.h"

#define OUTPUT_BYTES    (512U << 10)
#define FRAMES_PER_TURN 64
#define MEASURE_NS      (10 * NS_PER_MS)
/* Nothing depends on it. */
#define FAULTS_PATIENCE_MS 3000

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

static int say_hello(const struct sender_state *self, struct link *link, int purpose, struct error *err)
{
	Hydra__V1__HandoffHello hello = HYDRA__V1__HANDOFF_HELLO__INIT;

	hello.version = SESSION_VERSION;
	hello.migration_id = (char *) (uintptr_t) self->spec->migration_id;
	hello.capabilities = SESSION_CAPABILITIES;
	hello.purpose = (Hydra__V1__HandoffPurpose) purpose;
	hello.program_version = (char *) (uintptr_t) HYDRA_VERSION;
	return link_queue_message(link, FRAME_HELLO, &hello, err);
}

static int greet(struct sender_state *self, int purpose, struct error *err)
{
	Hydra__V1__HandoffHello *theirs;
	struct frame frame;
	int r = say_hello(self, &self->session.link, purpose, err);

	if (r == 0)
		r = session_expect(&self->session, FRAME_HELLO, &frame, err);
	if (r < 0)
		return r;
	theirs = hydra__v1__handoff_hello__unpack(NULL, frame.size, frame.data);
	if (theirs == NULL || theirs->version == 0)
		r = fail_because(err, EPROTO, "the target's greeting is not understood");
	else if (theirs->version != SESSION_VERSION)
		r = fail_because(err, EPROTO, "the target speaks version %u, we speak %d", theirs->version, SESSION_VERSION);
	else
		self->target_capabilities = theirs->capabilities;
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

void send_connect_faults(struct sender_state *self)
{
	struct transport transport = {.fd = FD_NONE};
	auto_close int fd = FD_NONE;
	struct error err;

	if (self->spec->connect == NULL || (self->target_capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_TWO_LINKS) == 0)
		return;
	if (dial(self->spec->connect, FAULTS_PATIENCE_MS, &fd, &err) < 0 ||
	    transport_open(&transport, &fd, false, &self->spec->files, FAULTS_PATIENCE_MS, &err) < 0) {
		log_warning("pages that tasks wait for come over the same connection as all others", "reason=\"%s\"", err.message);
		return;
	}
	transport_prefer(&transport);
	link_init(&self->faults, &transport);
	if (say_hello(self, &self->faults, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_FAULTS, &err) < 0 ||
	    link_drain(&self->faults, FAULTS_PATIENCE_MS, &err) < 0)
		link_deinit(&self->faults);
}

/* 1: it was the awaited one. */
static int handle_frame(struct sender_state *self, const struct frame *frame, enum frame_type until, struct error *err)
{
	switch (frame->type) {
	case FRAME_PAGE_REQUEST:
		return page_server_request(&self->pages, frame, false, err);
	case FRAME_RUNNING:
		self->is_running_there = true;
		if (self->running_ns == 0)
			self->running_ns = clock_realtime_ns();
		progress_phase(&self->progress, SOURCE_PAGING, "the container runs at the target", NULL);
		return 0;
	case FRAME_ABORT:
		return session_refused(&self->session, frame, err);
	case FRAME_VERDICT:
		if (self->is_committed)
			return send_take_verdict(self, frame, err);
		return fail_because(err, EPROTO, "unexpected %s", frame_name(frame->type));
	default:
		if (frame->type == FRAME_DONE && self->sums == NULL)
			self->sums = sums_of_frame(frame);
		if (frame->type == until)
			return 1;
		return fail_because(err, EPROTO, "unexpected %s", frame_name(frame->type));
	}
}

static bool has_output(const struct link *link)
{
	return link_queued(link) > 0 || link->transport.wants_write;
}

static int wait_for_something(struct sender_state *self, int timeout_ms, struct error *err)
{
	struct link *link = &self->session.link;
	struct pollfd events[] = {
		{.fd = link->transport.fd, .events = (short) (POLLIN | (has_output(link) ? POLLOUT : 0))},
		{.fd = self->session.signal_fd, .events = POLLIN},
		{.fd = self->dump.worker.pidfd, .events = POLLIN},
		{.fd = self->faults.transport.fd, .events = (short) (POLLIN | (has_output(&self->faults) ? POLLOUT : 0))},
		{.fd = self->is_committed ? self->packets_fd : FD_NONE, .events = POLLIN},
	};

	if (poll(events, 5, timeout_ms) < 0 && errno != EINTR)
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

/* Only requests come here. When it breaks, the first connection is there, over which the target asks again. */
static int serve_faults(struct sender_state *self, struct error *err)
{
	struct frame frame;
	int r = self->faults.transport.fd >= 0 ? link_flush(&self->faults, err) : 0;

	for (int i = 0; i < FRAMES_PER_TURN && r >= 0 && self->faults.transport.fd >= 0; i++) {
		r = link_next(&self->faults, &frame, err);
		if (r <= 0)
			break;
		if (frame.type != FRAME_PAGE_REQUEST)
			return fail_because(err, EPROTO, "unexpected %s", frame_name(frame.type));
		r = page_server_request(&self->pages, &frame, true, err);
		if (r < 0)
			return r;
	}
	if (r < 0) {
		link_deinit(&self->faults);
		page_server_forget_faults(&self->pages);
	}
	return 0;
}

void send_choose_compression(struct sender_state *self)
{
	enum compress_method method = self->spec->compress != NULL ? compress_method_of(self->spec->compress) : COMPRESS_METHODS;
	uint32_t understood = 0;

	if ((self->target_capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_LZ4) != 0)
		understood |= 1U << COMPRESS_LZ4;
	if ((self->target_capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_ZSTD) != 0)
		understood |= 1U << COMPRESS_ZSTD;
	self->pages.is_choosing = method == COMPRESS_METHODS;
	self->pages.method = !self->pages.is_choosing && (understood & 1U << method) != 0 ? method : COMPRESS_NONE;
	compress_choice_init(&self->pages.choice, understood);
	self->busy_ns = 0;
}

/* What the network takes is only known while there is more than it takes. */
static void measure_link(struct sender_state *self, bool is_full)
{
	uint64_t now = clock_monotonic_ns(), sent = self->session.link.bytes_sent;

	if (!is_full || self->busy_ns == 0) {
		self->busy_ns = is_full ? now : 0;
		self->busy_bytes = sent;
	} else if (now - self->busy_ns >= MEASURE_NS) {
		compress_choice_link(&self->pages.choice, sent - self->busy_bytes, now - self->busy_ns);
		self->busy_ns = now;
		self->busy_bytes = sent;
	}
}

static bool has_faults(const struct sender_state *self)
{
	return self->faults.transport.fd >= 0;
}

static int produce(struct sender_state *self, struct error *err)
{
	return page_server_produce(&self->pages, has_faults(self) ? &self->faults : NULL, &self->session.link, OUTPUT_BYTES, err);
}

static bool can_go_on(const struct sender_state *self)
{
	const struct link *link = &self->session.link;

	if (link->may_have_more || (page_queue_has_work(&self->pages.background) && link_queued(link) == 0) ||
	    (page_queue_has_work(&self->pages.urgent) && link_queued(link) < OUTPUT_BYTES))
		return true;
	return has_faults(self) && (self->faults.may_have_more ||
				    (page_queue_has_work(&self->pages.faults) && link_queued(&self->faults) < OUTPUT_BYTES));
}

void send_count(struct sender_state *self)
{
	self->progress.bytes_sent = self->session.link.bytes_sent + self->faults.bytes_sent;
	self->progress.pages_done = self->pages.pages_sent;
	self->progress.faults = self->pages.faults_asked;
}

int send_serve(struct sender_state *self, enum frame_type until, struct error *err)
{
	struct link *link = &self->session.link;

	for (;;) {
		struct frame frame;
		int r = produce(self, err);
		int flushed = r == 0 ? link_flush(link, err) : 0;
		bool is_cut = flushed < 0; /* its last word may still be there to be read */

		measure_link(self, flushed == 1);
		if (r == 0)
			r = serve_faults(self, err);
		if (r == 0 && self->is_committed)
			r = send_packets(self, err);
		for (int i = 0; i < FRAMES_PER_TURN && r == 0 && (r = link_next(link, &frame, err)) == 1; i++) {
			r = handle_frame(self, &frame, until, err);
			if (r != 0)
				return r < 0 ? r : 0;
		}
		if (r < 0 || is_cut)
			return r < 0 ? r : fail_because(err, EPIPE, "the connection to the target is lost");
		send_count(self);
		progress_update(&self->progress);
		if (session_check_deadline(&self->session, err) < 0)
			return err->code;
		if (can_go_on(self))
			continue;
		r = wait_for_something(self, 1000, err);
		if (r < 0)
			return r;
	}
}
