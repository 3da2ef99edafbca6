/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stdio of a process: pipes or a terminal, to the log and to attached clients.
 */
#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/log.h"
#include "base/owned.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/deposit.h"
#include "shim/fifo.h"
#include "shim/process.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_HIGH 65536 /* clients are asked to wait when this much input is not taken */

/* One for all: there is one thread. */
static uint8_t bytes[QUEUE_CHUNK_MAX];

static struct event_loop *loop_of(struct process *self)
{
	return &self->container->shim->loop;
}

void process_close_end(struct process *self, int end)
{
	deposit_drop(self, end);
	event_loop_remove(loop_of(self), &self->sources[end]);
	owned_fd_release(&self->ends[end]);
	self->ends[end] = FD_NONE;
}

void process_close_stdio(struct process *self)
{
	int listener = self->console_listener.fd;

	event_loop_remove(loop_of(self), &self->console_listener);
	owned_fd_release(&listener);
	for (int end = 0; end < STREAM_ENDS; end++)
		process_close_end(self, end);
	for (int i = 0; i < 3; i++) {
		owned_fd_release(&self->child_ends[i]);
		self->child_ends[i] = FD_NONE;
	}
}

static bool output_may_flow(const struct process *self)
{
	/* what has ended can't be made to wait, and what it left must not keep us from ending */
	if (self->log != NULL && output_holds_back(self->log) && !self->has_ended)
		return false;
	return self->pid > 0 && !clients_are_behind(self) && !fifos_are_full(self) && !(self->waits_for_client && self->clients == NULL);
}

/* For whoever looks when we are gone. */
static void note_unwritten(struct process *self)
{
	record *known = self->container->record;
	uint64_t pending = output_count(self->log).pending;
	struct error err;

	if (pending == known->log_pending_bytes)
		return;
	known->log_pending_bytes = pending;
	if (container_save(self->container, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", self->container->dir.id, err.message);
}

static void end_of_output(struct process *self, int end)
{
	process_close_end(self, end);
	process_close_end(self, STREAM_BRIDGE_END);
	process_close_end(self, STREAM_BRIDGE_INPUT);
	if (self->log != NULL && process_is_drained(self)) {
		output_end(self->log);
		note_unwritten(self);
	}
	if (self->has_ended && process_is_drained(self))
		clients_end(self);
	shim_consider_end(self->container->shim);
}

bool process_has_bytes_in_bridge(const struct process *self)
{
	int waiting = 0;

	return self->ends[STREAM_BRIDGE_END] >= 0 && ioctl(self->ends[STREAM_BRIDGE_END], FIONREAD, &waiting) == 0 && waiting > 0;
}

/* A terminal's output takes the way over a pipe, which outlives us: from there the kernel moves it on as it does with other pipes.
 * 1: it is there; 0: its end; -EINVAL: this kernel can't do that. */
static ssize_t fill_bridge(struct process *self)
{
	ssize_t got;

	if (self->ends[STREAM_BRIDGE_INPUT] < 0)
		return -EINVAL;
	if (process_has_bytes_in_bridge(self))
		return 1;
	got = splice(self->ends[STREAM_STDOUT_END], NULL, self->ends[STREAM_BRIDGE_INPUT], NULL, QUEUE_CHUNK_MAX, SPLICE_F_NONBLOCK);
	if (got < 0)
		return -errno;
	fault_point("shim.terminal-taken");
	return got > 0;
}

static int find_source(struct process *self, int end, struct queue_source *ret_source)
{
	ssize_t r = self->is_terminal ? fill_bridge(self) : 0;

	*ret_source = (struct queue_source){.fd = self->ends[end], .is_pipe = !self->is_terminal, .is_error = end == STREAM_STDERR_END};
	if (!self->is_terminal || r == -EINVAL)
		return 0;
	*ret_source = (struct queue_source){.fd = self->ends[STREAM_BRIDGE_END], .is_pipe = true};
	return r > 0 ? 0 : r < 0 ? (int) r : -EIO;
}

/* *ret_got of what was read is in `bytes`, if the clients have not got it yet; with a log only when somebody is there to have it. */
static ssize_t read_output(struct process *self, int end, size_t *ret_got)
{
	struct queue_source source;
	ssize_t got;

	if (self->log == NULL && self->fifos != NULL)
		return fifos_take(self, self->ends[end], end == STREAM_STDERR_END);
	got = find_source(self, end, &source);
	if (got < 0)
		return got;
	if (self->log != NULL) {
		got = output_read_from(self->log, &source);
		if (got > 0 && self->clients != NULL)
			*ret_got = output_copy_newest(self->log, bytes, &(bool){false});
		return got;
	}
	if (self->clients != NULL && source.is_pipe)
		return clients_take(self, source.fd, source.is_error ? STREAM_ERR : STREAM_OUT);
	got = read(source.fd, bytes, QUEUE_CHUNK_MAX);
	*ret_got = got > 0 ? (size_t) got : 0;
	return got < 0 ? -errno : got;
}

static void take_output(struct process *self, int end)
{
	size_t size = 0;
	ssize_t got = read_output(self, end, &size);

	if (got == -EAGAIN || got == -EINTR)
		return;
	if (got <= 0) { /* EIO: the last user of the terminal is gone */
		end_of_output(self, end);
		return;
	}
	if (size > 0) {
		clients_send(self, end == STREAM_STDERR_END ? STREAM_ERR : STREAM_OUT, bytes, size,
			     self->log != NULL ? output_count(self->log).read : 0);
	}
	if (self->log != NULL)
		output_deliver(self->log);
	process_resume_output(self);
}

static void handle_output(struct event_source *source, uint32_t events)
{
	struct process *self = source->context;

	if (events == EPOLLOUT)
		(void) process_write_input(self, NULL, 0);
	else
		take_output(self, source == &self->sources[STREAM_STDERR_END] ? STREAM_STDERR_END : STREAM_STDOUT_END);
}

static uint32_t wanted_events(const struct process *self, int end)
{
	uint32_t events = output_may_flow(self) ? EPOLLIN : 0;

	if (end == STREAM_STDOUT_END && self->is_terminal && (self->input_size > 0 || self->waits_for_room))
		events |= EPOLLOUT;
	return events;
}

void process_resume_output(struct process *self)
{
	struct error ignored;

	for (int end = STREAM_STDOUT_END; end <= STREAM_STDERR_END; end++) {
		uint32_t events = wanted_events(self, end);

		if (self->ends[end] < 0)
			continue;
		/* without events epoll would still report the hang-up, again and again */
		if (events == 0) {
			event_loop_remove(loop_of(self), &self->sources[end]);
			continue;
		}
		if (self->sources[end].fd >= 0) {
			event_loop_modify(loop_of(self), &self->sources[end], events);
			continue;
		}
		self->sources[end] = (struct event_source){.handle = handle_output, .context = self, .fd = FD_NONE};
		(void) event_loop_add(loop_of(self), &self->sources[end], self->ends[end], events, &ignored);
	}
}

void process_resume_clients(struct process *self)
{
	bool is_error = false;
	size_t size = self->log != NULL ? output_copy_newest(self->log, bytes, &is_error) : 0;

	clients_go_on(self, is_error ? STREAM_ERR : STREAM_OUT, bytes, size, self->log != NULL ? output_count(self->log).read : 0);
	if (self->clients != NULL)
		self->waits_for_client = false;
	if (process_has_bytes_in_bridge(self) && output_may_flow(self))
		take_output(self, STREAM_STDOUT_END);
	if (self->has_ended && process_is_drained(self))
		clients_end(self);
}

bool process_is_drained(const struct process *self)
{
	return self->ends[STREAM_STDOUT_END] < 0 && self->ends[STREAM_STDERR_END] < 0;
}

int process_input_fd(const struct process *self)
{
	return self->ends[self->is_terminal ? STREAM_STDOUT_END : STREAM_STDIN_END];
}

static void forget_input(struct process *self)
{
	free(self->input);
	self->input = NULL;
	self->input_size = 0;
}

static void handle_input_room(struct event_source *source, uint32_t events)
{
	(void) events;
	(void) process_write_input(source->context, NULL, 0);
}

/* Waits for room, or no longer, depending on what is left. */
static void watch_input(struct process *self)
{
	struct event_source *source = &self->sources[STREAM_STDIN_END];
	struct error ignored;

	if (self->is_terminal) {
		process_resume_output(self);
	} else if (self->input_size == 0 && !self->waits_for_room) {
		event_loop_remove(loop_of(self), source);
	} else if (source->fd < 0) {
		*source = (struct event_source){.handle = handle_input_room, .context = self, .fd = FD_NONE};
		(void) event_loop_add(loop_of(self), source, self->ends[STREAM_STDIN_END], EPOLLOUT, &ignored);
	}
}

int process_write_input(struct process *self, const uint8_t *data, size_t size)
{
	uint8_t *larger = size > 0 ? realloc(self->input, self->input_size + size) : self->input;
	ssize_t written;

	self->waits_for_room = false;
	if (process_input_fd(self) < 0 || (size > 0 && larger == NULL))
		return 0; /* nobody reads: as a closed pipe would, without the signal */
	self->input = larger;
	if (size > 0)
		memcpy(self->input + self->input_size, data, size);
	self->input_size += size;
	written = self->input_size > 0 ? write(process_input_fd(self), self->input, self->input_size) : 0;
	if (written < 0 && errno != EAGAIN && errno != EINTR) {
		forget_input(self);
		if (!self->is_terminal)
			process_close_end(self, STREAM_STDIN_END);
		return 0;
	}
	if (written > 0) {
		self->input_size -= (size_t) written;
		memmove(self->input, self->input + written, self->input_size);
	}
	if (self->input_size == 0) {
		forget_input(self);
		clients_resume_input(self);
		fifos_start_input(self);
		if (self->input_ends && !self->is_terminal)
			process_close_end(self, STREAM_STDIN_END);
	}
	watch_input(self);
	return self->input_size > INPUT_HIGH ? -EAGAIN : 0;
}

void process_await_input_room(struct process *self)
{
	self->waits_for_room = true;
	watch_input(self);
}

void process_end_input(struct process *self)
{
	self->input_ends = true;
	/* a terminal has no end of input; ^D is the way to say it, where lines are edited */
	if (self->is_terminal)
		(void) process_write_input(self, (const uint8_t *) "\x04", 1);
	else if (self->input_size == 0)
		process_close_end(self, STREAM_STDIN_END);
}

void process_resize(struct process *self, unsigned columns, unsigned rows)
{
	struct winsize size = {.ws_col = (unsigned short) columns, .ws_row = (unsigned short) rows};

	if (self->is_terminal && self->ends[STREAM_STDOUT_END] >= 0)
		(void) ioctl(self->ends[STREAM_STDOUT_END], TIOCSWINSZ, &size);
}

static void handle_log_change(void *context)
{
	struct process *self = context;

	process_resume_output(self);
	if (process_is_drained(self))
		note_unwritten(self);
	shim_consider_end(self->container->shim);
}

static void handle_log_gap(void *context)
{
	const struct process *self = context;

	container_note(self->container, "output-gap", NULL, "what waited and what was counted is of another version, or damaged: set aside");
}

int process_open_log(struct process *self, struct error *err)
{
	const struct container *container = self->container;
	struct output_owner owner = {.loop = loop_of(self), .dir_fd = container->dir.fd, .id = container->dir.id,
				     .namespace = container->shim->namespace, .on_change = handle_log_change, .on_gap = handle_log_gap,
				     .context = self};
	const Hydra__V1__LogConfig none = HYDRA__V1__LOG_CONFIG__INIT;
	const Hydra__V1__LogConfig *config = container->record->log != NULL ? container->record->log : &none;

	if (config->path[0] == '\0')
		owner.pipes = fifos_pipes(self);
	if (config->path[0] == '\0' && owner.pipes == NULL)
		return 0;
	return output_open(&self->log, &owner, config, err);
}

static int make_pipe(int *ret_read, int *ret_write, struct error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	*ret_read = ends[0];
	*ret_write = ends[1];
	return 0;
}

static void set_nonblocking(int fd)
{
	(void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static int open_pipes(struct process *self, struct error *err)
{
	int r = make_pipe(&self->ends[STREAM_STDOUT_END], &self->child_ends[1], err);

	if (r == 0)
		r = make_pipe(&self->ends[STREAM_STDERR_END], &self->child_ends[2], err);
	if (r == 0 && self->open_stdin)
		r = make_pipe(&self->child_ends[0], &self->ends[STREAM_STDIN_END], err);
	for (int end = 0; end < STREAM_ENDS && r == 0; end++) {
		if (self->ends[end] >= 0)
			set_nonblocking(self->ends[end]);
		if (r == 0)
			deposit_put(self, end);
	}
	return r;
}

void process_open_bridge(struct process *self)
{
	struct error ignored;

	if (!self->is_terminal || self->ends[STREAM_STDOUT_END] < 0 || self->ends[STREAM_BRIDGE_END] >= 0)
		return;
	if (make_pipe(&self->ends[STREAM_BRIDGE_END], &self->ends[STREAM_BRIDGE_INPUT], &ignored) < 0)
		return;
	for (int end = STREAM_BRIDGE_END; end <= STREAM_BRIDGE_INPUT; end++) {
		set_nonblocking(self->ends[end]);
		deposit_put(self, end);
	}
}

static void take_console(struct process *self, int connection)
{
	int fds[FD_PASS_MAX];
	size_t count = 0;
	char path[4096];

	(void) fd_pass_receive(connection, path, sizeof(path), fds, &count);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 && self->ends[STREAM_STDOUT_END] < 0) {
			self->ends[STREAM_STDOUT_END] = fds[0];
			set_nonblocking(fds[0]);
			deposit_put(self, STREAM_STDOUT_END);
			process_open_bridge(self);
		} else {
			(void) close(fds[i]);
		}
	}
	fifos_start_input(self);
	process_resume_output(self);
}

static void handle_console_message(struct event_source *source, uint32_t events)
{
	struct process *self = source->context;
	auto_close int connection = source->fd;

	(void) events;
	event_loop_remove(loop_of(self), source);
	take_console(self, connection);
}

/* The connection takes the listener's place until it says something: waiting for it here would stop everything. */
static void handle_console(struct event_source *source, uint32_t events)
{
	struct process *self = source->context;
	auto_close int listener = source->fd;
	auto_close int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct error ignored;
	uint8_t byte;

	(void) events;
	event_loop_remove(loop_of(self), source);
	if (connection < 0 || !socket_peer_is_trusted(connection))
		return;
	*source = (struct event_source){.handle = handle_console_message, .context = self, .fd = FD_NONE};
	if (recv(connection, &byte, 1, MSG_PEEK) > 0)
		take_console(self, connection);
	else if (event_loop_add(loop_of(self), source, connection, EPOLLIN, &ignored) == 0)
		(void) take_fd(&connection);
}

static int open_console(struct process *self, struct error *err)
{
	auto_free char *path = run_dir_path(&self->container->dir, "console.sock");
	auto_close int listener = FD_NONE;
	int r = socket_listen(path, &listener, err);

	if (r < 0)
		return r;
	self->console_listener = (struct event_source){.handle = handle_console, .context = self, .fd = FD_NONE};
	r = event_loop_add(loop_of(self), &self->console_listener, listener, EPOLLIN, err);
	if (r == 0)
		(void) take_fd(&listener);
	return r;
}

int process_open_stdio(struct process *self, struct error *err)
{
	return self->is_terminal ? open_console(self, err) : open_pipes(self, err);
}
