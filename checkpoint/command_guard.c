/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-checkpoint guard: between a worker that saves a container and its CRIU.
 *
 * CRIU runs code of its own in the tasks for some milliseconds; should it be killed just then, as it would be together with its
 * parent, they die of what it leaves there. So the parent is this process: when the worker dies meanwhile, it goes on with the
 * conversation, and says no to everything, upon which CRIU undoes what it did. At any other time CRIU ends with the worker.
 *
 * When this process is killed, CRIU goes on as the worker's child; when both are, CRIU finds nobody to talk to, and undoes it by itself. Whatever
 * holds the container is held by CRIU, too.
 */
#include "checkpoint/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/number.h"
#include "base/owned.h"
#include "checkpoint/criu_rpc.h"
#include "checkpoint/tcp_repair.h"

#define UNDO_MS 20000 /* for CRIU to undo what it did; one that hangs is killed */

struct guard_options {
	const char *criu;
	int init;
	struct string_list fds;
};

static const struct option_entry guard_entries[] = {
	{0, "criu", "PATH", OPTION_STRING, offsetof(struct guard_options, criu), "the CRIU to start"},
	{0, "init", "PID", OPTION_INT, offsetof(struct guard_options, init), "the container's init"},
	{0, "fd", "FD", OPTION_LIST, offsetof(struct guard_options, fds), "a descriptor to pass on under its number"},
	{0},
};

struct guard {
	pid_t criu;
	int criu_pidfd, signal_fd;
	enum guard_word word; /* the last one */
};

static int start_criu(struct guard *self, const struct guard_options *options, struct error *err)
{
	const char *const argv[] = {options->criu, "swrk", "3", NULL};
	struct child_spec child = {.path = options->criu, .argv = argv,
				   .fds = {{GUARD_CRIU_FD, GUARD_CRIU_FD}, {STDERR_FILENO, STDERR_FILENO}}, .fd_count = 2};

	for (size_t i = 0; i < options->fds.count && child.fd_count < CHILD_FDS_MAX; i++) {
		int fd;

		if (number_parse_int(options->fds.items[i], 3, 1 << 20, &fd) < 0)
			return fail_because(err, EINVAL, "--fd '%s': expected a descriptor", options->fds.items[i]);
		child.fds[child.fd_count++] = (struct child_fd){fd, fd};
	}
	for (int fd = GUARD_HOLD_FD; child.fd_count < CHILD_FDS_MAX && fcntl(fd, F_GETFD) == 0; fd++) /* ours end with us */
		child.fds[child.fd_count++] = (struct child_fd){fd, fd};
	return child_start(&child, &self->criu, &self->criu_pidfd, err);
}

/* False: the worker has died. */
static bool hear_worker(struct guard *self)
{
	char word;
	ssize_t got = read(GUARD_LIFE_FD, &word, 1);

	if (got > 0)
		self->word = (enum guard_word) word;
	return got > 0 || (got < 0 && errno == EINTR);
}

/* As if the worker had refused, whatever is asked. */
static void undo(struct guard *self)
{
	struct criu_worker worker = {.socket_fd = GUARD_WORKER_FD, .pidfd = FD_NONE, .cancel_fd = FD_NONE};
	struct pollfd events[] = {{.fd = GUARD_WORKER_FD, .events = POLLIN}, {.fd = self->criu_pidfd, .events = POLLIN}};
	struct error err;

	log_warning("the worker died while CRIU was in the tasks; CRIU is told to undo what it did", NULL);
	while (poll(events, 2, UNDO_MS) > 0 && events[1].revents == 0) {
		auto_close int fd = FD_NONE;
		CriuResp *message = NULL;
		bool is_question;

		if (criu_worker_receive(&worker, &message, &fd, &err) < 0)
			break;
		is_question = message->type == CRIU_REQ_TYPE__NOTIFY;
		criu_resp__free_unpacked(message, NULL);
		if (!is_question || criu_worker_acknowledge(&worker, false, &err) < 0)
			break;
	}
	(void) close(GUARD_WORKER_FD);
	events[0].fd = FD_NONE;
	(void) poll(events, 2, UNDO_MS);
}

/* Until CRIU or the worker has ended, or we are told to end. Tasks run again when CRIU has gone; they must find their connections as they
 * were, unless these are somebody else's by now. */
static void stand(struct guard *self, pid_t init)
{
	struct error ignored;
	struct pollfd events[] = {{.fd = self->criu_pidfd, .events = POLLIN}, {.fd = GUARD_LIFE_FD, .events = POLLIN},
				  {.fd = self->signal_fd, .events = POLLIN}};

	for (;;) {
		if (poll(events, 3, -1) < 0)
			continue;
		if (events[0].revents != 0 || events[2].revents != 0)
			return;
		if (events[1].revents != 0 && !hear_worker(self))
			break;
	}
	if (self->word == GUARD_AT_WORK)
		undo(self);
	else if (self->word == GUARD_IDLE && init > 0) {
		fault_point("guard.idle");
		(void) tcp_repair_off(init, &ignored);
	}
}

static int end_criu(const struct guard *self)
{
	int status = 0;

	(void) kill(self->criu, SIGKILL); /* it has ended, or holds tasks that go on now */
	while (waitpid(self->criu, &status, 0) < 0 && errno == EINTR)
		continue;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int guard(void *options, struct error *err)
{
	struct guard self = {.criu_pidfd = FD_NONE, .word = GUARD_IDLE};
	sigset_t mask;
	int r = command_line_need(((const struct guard_options *) options)->criu != NULL, "criu", err);

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGTERM);
	(void) sigprocmask(SIG_BLOCK, &mask, NULL);
	self.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC);
	if (r == 0)
		r = start_criu(&self, options, err);
	if (r < 0)
		return r;
	(void) close(GUARD_CRIU_FD);
	stand(&self, ((const struct guard_options *) options)->init);
	return end_criu(&self);
}

const struct command command_guard = {
	.name = "guard",
	.purpose = "start CRIU for a worker, and have it undo its work should the worker die meanwhile; for programs",
	.entries = guard_entries,
	.defaults = &(const struct guard_options){.criu = NULL},
	.options_size = sizeof(struct guard_options),
	.run = guard,
};
