/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One poll loop over signals, our own terminal and the container's.
 */
#include "runtime/foreground.h"

#include "base/owned.h"
#include "runtime/console.h"
#include "runtime/notify_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

struct relay {
	int from;
	int to;
	char data[8192];
	size_t start;
	size_t end;
	bool has_ended;
};

struct foreground {
	pid_t pid;
	int signal_fd;
	int master_fd;
	int notify_fd;
	struct relay input;
	struct relay output;
	struct termios saved;
	bool is_raw;
	bool has_exited;
	int status;
};

static void fill_mask(sigset_t *mask)
{
	(void) sigfillset(mask);
	/* these mean that we ourselves are broken */
	(void) sigdelset(mask, SIGSEGV);
	(void) sigdelset(mask, SIGBUS);
	(void) sigdelset(mask, SIGILL);
	(void) sigdelset(mask, SIGFPE);
	(void) sigdelset(mask, SIGABRT);
	(void) sigdelset(mask, SIGTTOU);
	(void) sigdelset(mask, SIGTTIN);
	(void) sigdelset(mask, SIGTSTP);
}

void foreground_begin(void)
{
	sigset_t mask;

	fill_mask(&mask);
	(void) sigprocmask(SIG_SETMASK, &mask, NULL);
	(void) signal(SIGPIPE, SIG_IGN);
	(void) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static void copy_size(const struct foreground *self)
{
	struct winsize size;

	if (self->master_fd >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		(void) ioctl(self->master_fd, TIOCSWINSZ, &size);
}

static void make_raw(struct foreground *self)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &self->saved) < 0)
		return;
	raw = self->saved;
	cfmakeraw(&raw);
	self->is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static int take_terminal(struct foreground *self, int socket_fd, struct error *err)
{
	if (socket_fd < 0)
		return 0;
	if (console_receive(socket_fd, &self->master_fd, err) < 0)
		return err->code;
	(void) fcntl(self->master_fd, F_SETFL, O_NONBLOCK);
	self->input = (struct relay){.from = STDIN_FILENO, .to = self->master_fd};
	self->output = (struct relay){.from = self->master_fd, .to = STDOUT_FILENO};
	copy_size(self);
	make_raw(self);
	return 0;
}

static void reap(struct foreground *self)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != self->pid)
			continue;
		self->has_exited = true;
		self->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
}

static void handle_signal(struct foreground *self)
{
	struct signalfd_siginfo info;

	if (read(self->signal_fd, &info, sizeof(info)) != (ssize_t) sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(self);
	else if (info.ssi_signo == SIGWINCH)
		copy_size(self);
	else if (info.ssi_signo != SIGPIPE)
		(void) kill(self->pid, (int) info.ssi_signo);
}

static void relay_read(struct relay *relay)
{
	ssize_t size = read(relay->from, relay->data, sizeof(relay->data));

	if (size > 0) {
		relay->start = 0;
		relay->end = (size_t) size;
	} else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
		relay->has_ended = true; /* EIO: nobody has the terminal open any more */
	}
}

static void relay_write(struct relay *relay)
{
	ssize_t size = write(relay->to, relay->data + relay->start, relay->end - relay->start);

	if (size > 0)
		relay->start += (size_t) size;
	else if (size < 0 && errno != EAGAIN && errno != EINTR)
		relay->has_ended = true;
}

static void relay_watch(const struct relay *relay, struct pollfd *event)
{
	bool is_full = relay->start < relay->end;

	event->fd = relay->has_ended ? -1 : is_full ? relay->to : relay->from;
	event->events = is_full ? POLLOUT : POLLIN;
}

static void relay_move(struct relay *relay, const struct pollfd *event)
{
	if (event->fd < 0 || event->revents == 0)
		return;
	if (relay->start < relay->end)
		relay_write(relay);
	else
		relay_read(relay);
}

static void turn(struct foreground *self)
{
	struct pollfd events[4] = {{.fd = self->signal_fd, .events = POLLIN}, {.fd = -1}, {.fd = -1}, {.fd = self->notify_fd, .events = POLLIN}};

	if (self->master_fd >= 0) {
		relay_watch(&self->input, &events[1]);
		relay_watch(&self->output, &events[2]);
	}
	if (poll(events, 4, -1) < 0)
		return;
	/* first: what was said before the exit is not lost */
	if (events[3].revents != 0)
		(void) notify_socket_take(self->notify_fd);
	if (events[0].revents != 0)
		handle_signal(self);
	relay_move(&self->input, &events[1]);
	relay_move(&self->output, &events[2]);
}

/* What the container had written before it exited is still in the terminal. */
static void drain(struct foreground *self)
{
	struct relay *output = &self->output;

	while (self->master_fd >= 0 && !output->has_ended) {
		if (output->start < output->end) {
			relay_write(output);
			continue;
		}
		relay_read(output);
		if (output->start == output->end)
			break;
	}
}

int foreground_attend(pid_t pid, int terminal_socket_fd, int notify_fd, int *ret_status, struct error *err)
{
	struct foreground self = {.pid = pid, .master_fd = FD_NONE, .notify_fd = notify_fd};
	sigset_t mask;

	fill_mask(&mask);
	self.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (self.signal_fd < 0)
		return fail_errno(err, errno, "watch signals");
	if (take_terminal(&self, terminal_socket_fd, err) < 0) {
		close(self.signal_fd);
		return err->code;
	}
	reap(&self);
	while (!self.has_exited)
		turn(&self);
	drain(&self);
	if (self.is_raw)
		(void) tcsetattr(STDIN_FILENO, TCSANOW, &self.saved);
	if (self.master_fd >= 0)
		close(self.master_fd);
	close(self.signal_fd);
	*ret_status = self.status;
	return 0;
}
