/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attached process: its output to ours, our input, terminal size and signals to it.
 *
 * The stream goes from us to the shim and nowhere in between.
 */
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "cli/cli.h"
#include "proto/message.h"
#include "proto/stream.h"
#include "state/exit_record.h"
#include "state/run_dir.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define DETACH_FIRST  0x10 /* Ctrl-P Ctrl-Q, as Docker has it */
#define DETACH_SECOND 0x11
#define ATTEMPTS      3

struct session {
	const struct cli *cli;
	const struct session_options *options;
	int fd;
	int signal_fd;
	int input_fd; /* where we write input ourselves; FD_NONE: it goes to the shim in frames */
	uint8_t held[8192];
	size_t held_size, held_sent; /* input that found no room yet */
	bool sends_input;
	bool has_heard; /* the shim sent a frame */
	bool has_detached;
	bool saw_detach_first;
	bool is_raw;
	struct termios saved;
	Hydra__V1__ExitRecord *exit;
};

static int send_frame(struct session *self, enum stream_type type, const void *data, size_t size)
{
	uint8_t header[STREAM_HEADER_SIZE];
	int r;

	stream_header_write(header, type, (uint32_t) size);
	r = fd_write_full(self->fd, header, sizeof(header));
	return r < 0 ? r : fd_write_full(self->fd, data, size);
}

static void send_window_size(struct session *self)
{
	struct winsize size;
	uint8_t data[4];

	if (!self->options->terminal || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return;
	stream_resize_write(data, size.ws_col, size.ws_row);
	(void) send_frame(self, STREAM_RESIZE, data, sizeof(data));
}

static void make_raw(struct session *self)
{
	struct termios raw;

	if (!self->options->terminal || !self->options->input || tcgetattr(STDIN_FILENO, &self->saved) < 0)
		return;
	raw = self->saved;
	cfmakeraw(&raw);
	self->is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void restore_terminal(struct session *self)
{
	if (self->is_raw)
		(void) tcsetattr(STDIN_FILENO, TCSADRAIN, &self->saved);
	self->is_raw = false;
}

/* True when the keys that leave the session were typed. */
static bool has_detach_keys(struct session *self, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size && self->options->terminal; i++) {
		if (self->saw_detach_first && data[i] == DETACH_SECOND)
			return true;
		self->saw_detach_first = data[i] == DETACH_FIRST;
	}
	return false;
}

static void end_direct_input(struct session *self)
{
	owned_fd_release(&self->input_fd);
	self->input_fd = FD_NONE;
	self->held_size = self->held_sent = 0;
}

/* What was read goes into the process's own pipe or terminal, as it makes room. */
static void write_held(struct session *self)
{
	while (self->held_sent < self->held_size) {
		ssize_t written = write(self->input_fd, self->held + self->held_sent, self->held_size - self->held_sent);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && errno == EAGAIN)
			return;
		if (written < 0) { /* nobody reads there any more */
			end_direct_input(self);
			self->sends_input = false;
			return;
		}
		self->held_sent += (size_t) written;
	}
	self->held_size = self->held_sent = 0;
}

/* A terminal has no end of input; ^D is the way to say it, where lines are edited. */
static int end_input(struct session *self)
{
	self->sends_input = false;
	if (self->input_fd < 0)
		return send_frame(self, STREAM_IN_END, NULL, 0);
	if (self->options->terminal) {
		self->held[self->held_size++] = 0x04;
		write_held(self);
		return 0;
	}
	end_direct_input(self);
	return send_frame(self, STREAM_IN_END, NULL, 0);
}

static int forward_input(struct session *self)
{
	ssize_t got = read(STDIN_FILENO, self->held, sizeof(self->held) - 1);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (got <= 0)
		return end_input(self);
	self->has_detached = has_detach_keys(self, self->held, (size_t) got);
	if (self->has_detached)
		return 0;
	if (self->input_fd < 0)
		return send_frame(self, STREAM_IN, self->held, (size_t) got);
	self->held_size = (size_t) got;
	write_held(self);
	return 0;
}

static void forward_signal(struct session *self)
{
	struct signalfd_siginfo info;
	Hydra__V1__KillRequest request = HYDRA__V1__KILL_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;
	struct error ignored;

	if (read(self->signal_fd, &info, sizeof(info)) != (ssize_t) sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		send_window_size(self);
		return;
	}
	request.exec_id = (char *) (uintptr_t) self->options->exec_id;
	request.signal = info.ssi_signo;
	(void) cli_call_shim(self->cli, self->options->id, "Kill", &request.base, &hydra__v1__empty__descriptor, 5000, &response,
			     &ignored);
}

/* 1: the exit record came; 0: go on; -errno: the stream broke. */
static int receive_frame(struct session *self)
{
	static uint8_t data[STREAM_DATA_MAX];
	uint8_t bytes[STREAM_HEADER_SIZE];
	struct stream_header header;
	int r = fd_read_full(self->fd, bytes, sizeof(bytes));

	if (r < 0 || !stream_header_read(bytes, &header))
		return r < 0 ? r : -EPROTO;
	r = fd_read_full(self->fd, data, header.size);
	if (r < 0)
		return r;
	self->has_heard = true;
	if (header.type == STREAM_OUT || header.type == STREAM_ERR)
		(void) fd_write_full(header.type == STREAM_OUT ? STDOUT_FILENO : STDERR_FILENO, data, header.size);
	if (header.type != STREAM_EXIT)
		return 0;
	self->exit = (void *) message_decode(&hydra__v1__exit_record__descriptor, data, header.size);
	return 1;
}

static int converse(struct session *self)
{
	int r = 0;

	while (r == 0 && !self->has_detached) {
		bool is_held = self->held_size > 0;
		struct pollfd ready[] = {
			{.fd = self->fd, .events = POLLIN},
			{.fd = self->signal_fd, .events = POLLIN},
			{.fd = self->sends_input && !is_held ? STDIN_FILENO : -1, .events = POLLIN},
			{.fd = is_held ? self->input_fd : -1, .events = POLLOUT},
		};

		if (poll(ready, 4, -1) < 0 && errno != EINTR)
			return -errno;
		if (ready[1].revents != 0)
			forward_signal(self);
		if (ready[2].revents != 0 && forward_input(self) < 0)
			self->sends_input = false;
		if (ready[3].revents != 0)
			write_held(self);
		if (ready[0].revents != 0)
			r = receive_frame(self);
	}
	return r;
}

static int watch_signals(struct session *self, struct error *err)
{
	sigset_t mask;

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGWINCH);
	if (self->options->forwards_signals) {
		(void) sigaddset(&mask, SIGINT);
		(void) sigaddset(&mask, SIGTERM);
		(void) sigaddset(&mask, SIGHUP);
		(void) sigaddset(&mask, SIGQUIT);
	}
	(void) sigprocmask(SIG_BLOCK, &mask, NULL);
	(void) signal(SIGPIPE, SIG_IGN);
	self->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return self->signal_fd < 0 ? fail_errno(err, errno, "watch signals") : 0;
}

static void leave(struct session *self)
{
	owned_fd_release(&self->fd);
	owned_fd_release(&self->input_fd);
	self->fd = self->input_fd = FD_NONE;
}

static int attach(struct session *self, struct error *err)
{
	Hydra__V1__AttachRequest request = HYDRA__V1__ATTACH_REQUEST__INIT;
	struct cli_connection connection;
	struct winsize size = {0};
	int r;

	leave(self);
	if (self->options->terminal)
		(void) ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	request.exec_id = (char *) (uintptr_t) self->options->exec_id;
	request.input = self->options->input;
	request.direct_input = true;
	request.width = size.ws_col;
	request.height = size.ws_row;
	r = cli_attach_shim(self->cli, self->options->id, &request, &connection, err);
	if (r < 0)
		return r;
	self->fd = connection.fd;
	self->input_fd = connection.passed_fd;
	return 0;
}

static int start_container(struct session *self, struct error *err)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message ProtobufCMessage *response = NULL;

	return cli_call_shim(self->cli, self->options->id, "Start", &request.base, &hydra__v1__empty__descriptor, 0, &response,
			     err);
}

int session_exit_status(const Hydra__V1__ExitRecord *exit, struct error *err)
{
	if (exit != NULL && exit->is_known)
		return (int) exit->exit_code;
	return fail_because(err, EIO, "the exit status is unknown: %s",
			    exit != NULL && exit->reason[0] != '\0' ? exit->reason : "nobody could see it");
}

/* The stream broke without an exit record: what is on disk counts. */
static int exit_from_disk(struct session *self, struct error *err)
{
	struct run_dir dir;
	struct error ignored;

	if (run_dir_open(&dir, self->cli->root, self->cli->namespace, self->options->id, &ignored) == 0) {
		(void) exit_record_load(dir.fd, self->options->exec_id, &self->exit, &ignored);
		run_dir_close(&dir);
	}
	if (self->exit != NULL)
		return session_exit_status(self->exit, err);
	return fail_because(err, ECONNRESET, "the connection to the shim of '%s' broke; `hydractl attach %s` joins it again",
			    self->options->id, self->options->id);
}

/* A shim that dies while it lets us in hangs up without having sent anything: its successor lets us in. */
static int take_part(struct session *self, struct error *err)
{
	int r = converse(self);

	for (int i = 0; i < ATTEMPTS && (r == -EPIPE || r == -ECONNRESET) && !self->has_heard; i++) {
		r = attach(self, err);
		if (r == 0)
			r = converse(self);
	}
	return r;
}

int session_run(const struct cli *cli, const struct session_options *options, struct error *err)
{
	struct session self = {.cli = cli, .options = options, .fd = FD_NONE, .input_fd = FD_NONE, .signal_fd = FD_NONE,
			       .sends_input = options->input};
	int r = watch_signals(&self, err);

	if (r == 0)
		r = attach(&self, err);
	if (r == 0 && options->starts_container)
		r = start_container(&self, err);
	if (r == 0) {
		make_raw(&self);
		r = take_part(&self, err);
		restore_terminal(&self);
		if (r > 0)
			r = session_exit_status(self.exit, err);
		else if (r < 0)
			r = exit_from_disk(&self, err);
	}
	leave(&self);
	owned_fd_release(&self.signal_fd);
	message_free(self.exit);
	return r;
}
