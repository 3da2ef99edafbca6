/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process of a container, init or exec: its pid, its stdio, how it ended, who waits for that.
 */
#pragma once

#include "base/event_loop.h"
#include "proto/store.h"
#include "shim/output.h"
#include "shim/task.h"
#include "state/exit_record.h"

#include <stdbool.h>
#include <sys/types.h>

struct container;
struct client;
struct feed;
struct ttrpc_call;

enum {
	STREAM_STDIN_END,  /* ours: written to */
	STREAM_STDOUT_END, /* read; with a terminal the pty master, which is written to as well */
	STREAM_STDERR_END,
	STREAM_BRIDGE_END, /* of a terminal: what was taken from it and is not where it belongs yet; a pipe, both ends ours */
	STREAM_BRIDGE_INPUT,
	STREAM_ENDS,
};

struct process {
	struct container *container;
	char exec_id[80]; /* "": init */
	pid_t pid;
	int pidfd;
	struct event_source pidfd_source;
	bool is_terminal;
	bool open_stdin;
	bool is_added;      /* of an exec of containerd: it may be started */
	bool is_being_made; /* of an exec: the runtime was asked for it */
	bool has_started;
	bool has_ended;    /* its exit record is written */
	bool waits_for_client; /* output is not read before somebody attached */
	uint64_t started_ns;
	uint64_t start_time;   /* field 22 of /proc/PID/stat */
	bool is_asked;         /* the monitor, as a child of a shim before us is its child now: how did it end? */
	bool is_heard;         /* it has answered: */
	struct store_end heard;
	exit_record *exit;

	int ends[STREAM_ENDS]; /* ours, non-blocking; FD_NONE: none or closed */
	struct event_source sources[STREAM_ENDS];
	int child_ends[3];     /* the process's, kept until it runs */
	struct output *log;    /* NULL: output goes to clients only */
	struct event_source console_listener; /* while the runtime is to send the pty master */
	struct event_timer client_timer;
	struct event_timer look_timer; /* of a process that is another's child: its end is known when that one has reaped it */
	uint8_t *input; /* for the process, when it does not read */
	size_t input_size;
	bool input_ends; /* close stdin when input is written */
	bool waits_for_room; /* somebody else has input for it (shim/fifo.h) */
	struct client *clients;
	struct feed *feed; /* what they have not got yet; NULL: there are none */
	char *stdio_names[3]; /* containerd's FIFOs (shim/fifo.h); NULL: it is none of containerd's */
	struct fifos *fifos;  /* NULL: none is open */
	struct ttrpc_call *waiting; /* calls of Wait and Stop */
	struct ttrpc_call *delete_call; /* containerd's, answered when all of it is over */
	struct process *next;
};

/* Adds it to the container. */
struct process *process_new(struct container *container, const char *exec_id);
void process_free(struct process *self);

/* Makes its pipes, or the socket on which the runtime will send the pty master. */
int process_open_stdio(struct process *self, struct error *err);
/* The log of its container's record; without one nothing is done. */
int process_open_log(struct process *self, struct error *err);
/* The runtime made the process: follow it. Our copies of its ends are closed, its output is read from now on. */
int process_follow(struct process *self, pid_t pid, struct error *err);
/* Looks whether it ended; if so writes the exit record, then reaps it. */
void process_check(struct process *self);
/* It ended while no shim was there: its exit record may be on disk; else its status is unknown. */
void process_ended_unseen(struct process *self, pid_t pid);
/* A successor: what its predecessor had, which still tells how it ended when all others have forgotten it. Takes fd. */
void process_keep_pidfd(struct process *self, int fd);
/* The monitor's answer; NULL: there will be none. */
void process_hear_end(struct process *self, const struct store_end *end);
/* Watches for its end again, after an operation of the container during which ends were held back. */
void process_watch_end(struct process *self);
/* All output is read and nobody is left to send it to. */
bool process_is_drained(const struct process *self);
/* Output of a terminal that was taken from it and is not where it belongs yet. */
bool process_has_bytes_in_bridge(const struct process *self);
/* Makes the pipe that a terminal's output takes, if there is none yet. */
void process_open_bridge(struct process *self);
/* Begins to read output (again). */
void process_resume_output(struct process *self);
/* Goes on with the clients of a predecessor. */
void process_resume_clients(struct process *self);
/* Does not wait for its client for ever. */
void process_await_client(struct process *self);
/* The same, and the container has ended: not for long. */
void process_await_last_client(struct process *self);

/* Where input is written, non-blocking; FD_NONE: there is none. */
int process_input_fd(const struct process *self);
/* Input from a client; -EAGAIN: full, ask again when process_on_input_room is called. */
int process_write_input(struct process *self, const uint8_t *data, size_t size);
/* Calls fifos_start_input() when there is room for input. */
void process_await_input_room(struct process *self);
void process_end_input(struct process *self);
void process_resize(struct process *self, unsigned columns, unsigned rows);

/* io.c */
void process_close_end(struct process *self, int end);
void process_close_stdio(struct process *self);
