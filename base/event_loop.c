/* SPDX-License-Identifier: Apache-2.0 */
#include "base/event_loop.h"

#include "base/clock.h"
#include "base/owned.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define READY_MAX 32

int event_loop_init(struct event_loop *self, struct error *err)
{
	*self = (struct event_loop){.signal_fd = FD_NONE, .signal_source.fd = FD_NONE};
	self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (self->epoll_fd < 0)
		return fail_errno(err, errno, "make an event loop");
	return 0;
}

void event_loop_deinit(struct event_loop *self)
{
	owned_fd_release(&self->signal_fd);
	owned_fd_release(&self->epoll_fd);
}

static void handle_signals(struct event_source *source, uint32_t events)
{
	struct event_loop *self = source->context;
	struct signalfd_siginfo info;

	(void) events;
	while (read(self->signal_fd, &info, sizeof(info)) == (ssize_t) sizeof(info))
		self->handle_signal(self, (int) info.ssi_signo, self->signal_context);
}

int event_loop_watch_signals(struct event_loop *self, const sigset_t *mask, signal_handler *handle, void *context,
			     struct error *err)
{
	if (sigprocmask(SIG_BLOCK, mask, NULL) < 0)
		return fail_errno(err, errno, "block signals");
	self->signal_fd = signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (self->signal_fd < 0)
		return fail_errno(err, errno, "make a signal descriptor");
	self->handle_signal = handle;
	self->signal_context = context;
	self->signal_source = (struct event_source){.handle = handle_signals, .context = self, .fd = FD_NONE};
	return event_loop_add(self, &self->signal_source, self->signal_fd, EPOLLIN, err);
}

int event_loop_watch_usual_signals(struct event_loop *self, signal_handler *handle, void *context, struct error *err)
{
	sigset_t mask;

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGCHLD);
	(void) sigaddset(&mask, SIGTERM);
	(void) sigaddset(&mask, SIGINT);
	(void) sigaddset(&mask, SIGHUP);
	(void) signal(SIGPIPE, SIG_IGN);
	return event_loop_watch_signals(self, &mask, handle, context, err);
}

int event_loop_add(struct event_loop *self, struct event_source *source, int fd, uint32_t events, struct error *err)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		source->fd = FD_NONE;
		return fail_errno(err, errno, "watch a descriptor");
	}
	source->fd = fd;
	source->events = events;
	return 0;
}

void event_loop_modify(struct event_loop *self, struct event_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (source->fd < 0 || source->events == events)
		return;
	if (epoll_ctl(self->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) == 0)
		source->events = events;
}

void event_loop_remove(struct event_loop *self, struct event_source *source)
{
	if (source->fd < 0)
		return;
	(void) epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->fd = FD_NONE;
	for (int i = 0; i < self->ready_count; i++) {
		if (self->ready[i].data.ptr == source)
			self->ready[i].data.ptr = NULL;
	}
}

uint64_t event_timer_rest(const struct event_timer *timer)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (timer->due_ns == 0)
		return 0;
	return timer->due_ns > now_ns ? timer->due_ns - now_ns : 1;
}

void event_loop_disarm(struct event_loop *self, struct event_timer *timer)
{
	if (timer->due_ns == 0)
		return;
	for (struct event_timer **link = &self->timers; *link != NULL; link = &(*link)->next) {
		if (*link == timer) {
			*link = timer->next;
			break;
		}
	}
	timer->due_ns = 0;
}

void event_loop_arm(struct event_loop *self, struct event_timer *timer, uint64_t delay_ns)
{
	struct event_timer **link = &self->timers;

	event_loop_disarm(self, timer);
	timer->due_ns = clock_monotonic_ns() + delay_ns;
	while (*link != NULL && (*link)->due_ns <= timer->due_ns)
		link = &(*link)->next;
	timer->next = *link;
	*link = timer;
}

static void run_due_timers(struct event_loop *self)
{
	uint64_t now_ns = clock_monotonic_ns();

	while (self->timers != NULL && self->timers->due_ns <= now_ns) {
		struct event_timer *timer = self->timers;

		event_loop_disarm(self, timer);
		timer->handle(timer);
	}
}

static int wait_time(const struct event_loop *self, int timeout_ms)
{
	uint64_t now_ns = clock_monotonic_ns();
	uint64_t wait_ms;

	if (self->timers == NULL)
		return timeout_ms;
	if (self->timers->due_ns <= now_ns)
		return 0;
	wait_ms = (self->timers->due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	if (wait_ms > 3600 * 1000)
		wait_ms = 3600 * 1000;
	return timeout_ms >= 0 && wait_ms > (uint64_t) timeout_ms ? timeout_ms : (int) wait_ms;
}

void event_loop_turn(struct event_loop *self, int timeout_ms)
{
	struct epoll_event ready[READY_MAX];

	self->ready = ready;
	self->ready_count = epoll_wait(self->epoll_fd, ready, READY_MAX, wait_time(self, timeout_ms));
	for (int i = 0; i < self->ready_count; i++) {
		struct event_source *source = ready[i].data.ptr;

		if (source != NULL)
			source->handle(source, ready[i].events);
	}
	self->ready_count = 0;
	run_due_timers(self);
}

int event_loop_run(struct event_loop *self)
{
	self->is_running = true;
	while (self->is_running)
		event_loop_turn(self, -1);
	return self->exit_code;
}

void event_loop_stop(struct event_loop *self, int exit_code)
{
	self->is_running = false;
	self->exit_code = exit_code;
}
