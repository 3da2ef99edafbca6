/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll loop: descriptors, timers, signals. No threads, no allocation: sources and
 * timers live in the structures of their owners, who remove them before these go.
 */
#pragma once

#include "base/error.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct event_loop;
struct event_source;
struct event_timer;

typedef void event_handler(struct event_source *source, uint32_t events);
typedef void timer_handler(struct event_timer *timer);
typedef void signal_handler(struct event_loop *loop, const int signal_number, void *context);

struct event_source {
	event_handler *handle;
	void *context;
	int fd; /* not owned; < 0: not in a loop */
	uint32_t events;
};

struct event_timer {
	timer_handler *handle;
	void *context;
	uint64_t due_ns; /* monotonic; 0: not armed */
	struct event_timer *next;
};

struct event_loop {
	int epoll_fd;
	int signal_fd;
	int exit_code;
	bool is_running;
	struct event_source signal_source;
	signal_handler *handle_signal;
	void *signal_context;
	struct event_timer *timers; /* sorted by due time */
	/* events of the round being handled, so that removal also forgets what was already fetched */
	struct epoll_event *ready;
	int ready_count;
};

int event_loop_init(struct event_loop *self, struct error *err);
void event_loop_deinit(struct event_loop *self);

/* Blocks the signals of mask and delivers them to handle from the loop. */
int event_loop_watch_signals(struct event_loop *self, const sigset_t *mask, signal_handler *handle, void *context,
			     struct error *err);
/* The signals of a program that stays: SIGCHLD, SIGTERM, SIGINT and SIGHUP are watched, SIGPIPE is ignored. */
int event_loop_watch_usual_signals(struct event_loop *self, signal_handler *handle, void *context, struct error *err);

int event_loop_add(struct event_loop *self, struct event_source *source, int fd, uint32_t events, struct error *err);
/* Changes what is waited for; the same events again cost nothing. */
void event_loop_modify(struct event_loop *self, struct event_source *source, uint32_t events);
/* Accepts a source that is not in the loop. */
void event_loop_remove(struct event_loop *self, struct event_source *source);

/* Arms (again) for now + delay; once. */
void event_loop_arm(struct event_loop *self, struct event_timer *timer, uint64_t delay_ns);
/* Until it is due, in ns, at least 1; 0: it is not armed. */
uint64_t event_timer_rest(const struct event_timer *timer);
void event_loop_disarm(struct event_loop *self, struct event_timer *timer);

/* Runs until event_loop_stop(). Returns the exit code given there. */
int event_loop_run(struct event_loop *self);
/* One round; waits at most timeout_ms (-1: as long as it takes). */
void event_loop_turn(struct event_loop *self, int timeout_ms);
void event_loop_stop(struct event_loop *self, int exit_code);
