/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRIU's RPC over a SEQPACKET socketpair. The worker is ours alone and bound to our life.
 */
#include "checkpoint/criu_rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fd_pass.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#define MESSAGE_MAX    65536
#define CHILDREN_MAX   65536
#define RPC_FD_NUMBER  3
/* CRIU's switch for "no hardware breakpoints": they cost 10..20 ms of freeze in every third run. */
#define NO_BREAKPOINTS "CRIU_FAULT=130"

static char **worker_environment(void)
{
	size_t count = 0;
	char **copy;

	while (environ[count] != NULL)
		count++;
	copy = calloc(count + 2, sizeof(*copy));
	if (copy == NULL)
		abort();
	copy[0] = (char *) (uintptr_t) NO_BREAKPOINTS;
	memcpy(copy + 1, environ, count * sizeof(*copy));
	return copy;
}

static int start(struct criu_worker *self, const struct criu_worker_spec *spec, struct child_spec *child, struct error *err)
{
	auto_free char **environment = worker_environment();

	child->net_namespace_fd = spec->net_namespace_fd;
	child->cgroup_dirs = spec->cgroup_dirs;
	child->new_session = true;
	child->envp = (const char *const *) environment;
	for (size_t i = 0; i < spec->fd_count; i++)
		child->fds[child->fd_count++] = spec->fds[i];
	return child_start(child, &self->pid, &self->pidfd, err) < 0 ? fail_while(err, "start CRIU") : 0;
}

static int start_restorer(struct criu_worker *self, const struct criu_worker_spec *spec, int theirs, struct error *err)
{
	const char *const argv[] = {spec->criu->path, "swrk", "3", NULL};
	struct child_spec child = {.path = spec->criu->path, .argv = argv, .fds = {{theirs, RPC_FD_NUMBER}}, .fd_count = 1};

	return start(self, spec, &child, err);
}

static int start_dumper(struct criu_worker *self, const struct criu_worker_spec *spec, int theirs, int ours, struct error *err)
{
	auto_free char *program = child_program("hydra-checkpoint");
	char init[16];
	const char *argv[6 + 2 * CRIU_WORKER_FDS_MAX + 1] = {"hydra-checkpoint", "guard", "--criu", spec->criu->path, "--init", init};
	struct child_spec child = {.path = program, .argv = argv, .fd_count = 4};
	char numbers[CRIU_WORKER_FDS_MAX][16];
	auto_close int life = FD_NONE;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) /* should the guard be killed, CRIU is our child */
		return fail_errno(err, errno, "make a pipe for CRIU's guard");
	(void) text_fit(init, sizeof(init), "%d", (int) spec->init);
	life = ends[0];
	self->life_fd = ends[1];
	child.fds[0] = (struct child_fd){theirs, GUARD_CRIU_FD};
	child.fds[1] = (struct child_fd){life, GUARD_LIFE_FD};
	child.fds[2] = (struct child_fd){ours, GUARD_WORKER_FD};
	child.fds[3] = (struct child_fd){STDERR_FILENO, STDERR_FILENO};
	for (size_t i = 0; i < spec->fd_count; i++) {
		(void) text_fit(numbers[i], sizeof(numbers[i]), "%d", spec->fds[i].number);
		argv[6 + 2 * i] = "--fd";
		argv[7 + 2 * i] = numbers[i];
	}
	for (size_t i = 0; spec->holds != NULL && spec->holds[i] >= 0; i++)
		child.fds[child.fd_count++] = (struct child_fd){spec->holds[i], GUARD_HOLD_FD + (int) i};
	r = start(self, spec, &child, err);
	return r;
}

int criu_worker_start(struct criu_worker *self, const struct criu_worker_spec *spec, struct error *err)
{
	auto_close int ours = FD_NONE, theirs = FD_NONE;
	int pair[2], r;

	*self = CRIU_WORKER_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_errno(err, errno, "make a socketpair for CRIU");
	ours = pair[0];
	theirs = pair[1];
	r = spec->is_restorer ? start_restorer(self, spec, theirs, err) : start_dumper(self, spec, theirs, ours, err);
	if (r < 0) {
		owned_fd_release(&self->life_fd);
		return r;
	}
	self->socket_fd = take_fd(&ours);
	return 0;
}

void criu_worker_tell(const struct criu_worker *self, enum guard_word word)
{
	char byte = (char) word;

	if (self->life_fd >= 0)
		(void) !write(self->life_fd, &byte, 1);
}

static void kill_children(void)
{
	auto_free char *list = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, "/proc/thread-self/children", CHILDREN_MAX, &list, NULL, &ignored) < 0)
		return;
	for (char *rest = list, *field; (field = strsep(&rest, " \n")) != NULL;) {
		int pid;

		if (number_parse_int(field, 1, 1 << 30, &pid) == 0)
			(void) kill(pid, SIGKILL);
	}
}

static void reap_children(void)
{
	kill_children();
	while (waitpid(-1, NULL, 0) >= 0 || errno == EINTR)
		continue;
}

static void reap(struct criu_worker *self)
{
	bool has_guard = self->life_fd >= 0;
	int status = 0;

	while (self->pid > 0 && waitpid(self->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (has_guard && WIFSIGNALED(status)) /* it has left CRIU to us */
		reap_children();
	if (self->pidfd >= 0)
		(void) close(self->pidfd);
	if (self->socket_fd >= 0)
		(void) close(self->socket_fd);
	owned_fd_release(&self->life_fd);
	*self = CRIU_WORKER_NONE;
}

void criu_worker_stop(struct criu_worker *self)
{
	/* a guard kills CRIU and waits for its end */
	if (self->pid > 0)
		(void) kill(self->pid, self->life_fd >= 0 ? SIGTERM : SIGKILL);
	reap(self);
}

void criu_worker_abandon(struct criu_worker *self)
{
	if (self->pid > 0)
		(void) kill(-self->pid, SIGKILL); /* it leads a session of its own, with its helpers */
	reap(self);
	reap_children();
}

bool criu_worker_has_ended(const struct criu_worker *self)
{
	struct pollfd event = {.fd = self->pidfd, .events = POLLIN};

	return poll(&event, 1, 0) > 0;
}

void criu_worker_wait(struct criu_worker *self)
{
	if (self->socket_fd >= 0)
		(void) close(self->socket_fd);
	self->socket_fd = FD_NONE;
	reap(self);
}

int criu_worker_request(struct criu_worker *self, const CriuReq *request, struct error *err)
{
	size_t size = criu_req__get_packed_size(request);
	auto_free unsigned char *data = NULL;

	if (size > MESSAGE_MAX)
		return fail_because(err, E2BIG, "the request to CRIU is too long (%zu bytes)", size);
	data = malloc(size + 1);
	if (data == NULL)
		return fail_errno(err, ENOMEM, "build a request to CRIU");
	(void) criu_req__pack(request, data);
	criu_worker_tell(self, GUARD_AT_WORK);
	if (send(self->socket_fd, data, size, MSG_NOSIGNAL) != (ssize_t) size)
		return fail_errno(err, errno, "send a request to CRIU");
	return 0;
}

static int await_message(const struct criu_worker *self, struct error *err)
{
	struct pollfd events[] = {{.fd = self->socket_fd, .events = POLLIN}, {.fd = self->cancel_fd, .events = POLLIN}};

	while (poll(events, 2, -1) < 0) {
		if (errno != EINTR)
			return fail_errno(err, errno, "wait for CRIU");
	}
	return events[1].revents != 0 ? fail_because(err, ECANCELED, "called off") : 0;
}

int criu_worker_receive(struct criu_worker *self, CriuResp **ret_answer, int *ret_fd, struct error *err)
{
	auto_free unsigned char *data = malloc(MESSAGE_MAX);
	int fds[FD_PASS_MAX];
	size_t fd_count = 0;
	CriuResp *answer;
	ssize_t size;

	if (data == NULL)
		return fail_errno(err, ENOMEM, "receive from CRIU");
	if (await_message(self, err) < 0)
		return err->code;
	size = fd_pass_receive(self->socket_fd, data, MESSAGE_MAX, fds, &fd_count);
	if (size == -ECONNRESET || size == 0)
		return fail_because(err, EPIPE, "CRIU ended without an answer");
	if (size < 0)
		return fail_errno(err, (int) -size, "receive from CRIU");
	for (size_t i = 1; i < fd_count; i++)
		(void) close(fds[i]);
	answer = criu_resp__unpack(NULL, (size_t) size, data);
	if (answer == NULL) {
		if (fd_count > 0)
			(void) close(fds[0]);
		return fail_because(err, EPROTO, "CRIU sent something that is no answer");
	}
	*ret_answer = answer;
	*ret_fd = fd_count > 0 ? fds[0] : FD_NONE;
	return 0;
}

int criu_worker_acknowledge(struct criu_worker *self, bool is_agreed, struct error *err)
{
	CriuReq request = CRIU_REQ__INIT;

	request.type = CRIU_REQ_TYPE__NOTIFY;
	request.has_notify_success = true;
	request.notify_success = is_agreed;
	return criu_worker_request(self, &request, err);
}

static int answer_notification(struct criu_worker *self, criu_notified *notified, void *context,
			       const CriuResp *answer, int *fd, struct error *err)
{
	const char *stage = answer->notify != NULL && answer->notify->script != NULL ? answer->notify->script : "";
	int r = notified != NULL ? notified(context, stage, fd, err) : 0;
	int sent;

	sent = criu_worker_acknowledge(self, r >= 0, r >= 0 ? err : &(struct error){0});
	return r < 0 ? r : sent;
}

int criu_worker_finish(struct criu_worker *self, criu_notified *notified, void *context, pid_t *ret_pid,
		       struct error *err)
{
	struct error veto = ERROR_NONE;

	for (;;) {
		auto_close int fd = FD_NONE;
		CriuResp *answer = NULL;
		bool is_final, has_succeeded;
		int r;

		r = criu_worker_receive(self, &answer, &fd, err);
		if (r < 0)
			return veto.code < 0 ? (*err = veto, veto.code) : r;
		is_final = answer->type != CRIU_REQ_TYPE__NOTIFY;
		has_succeeded = answer->success;
		if (is_final && has_succeeded && ret_pid != NULL && answer->restore != NULL)
			*ret_pid = answer->restore->pid;
		if (!is_final) {
			struct error first = ERROR_NONE;

			if (answer->notify != NULL && answer->notify->has_pid && answer->notify->pid > 0)
				self->restored = answer->notify->pid;
			if (answer_notification(self, notified, context, answer, &fd, &first) < 0 && veto.code == 0)
				veto = first;
		}
		criu_resp__free_unpacked(answer, NULL);
		if (!is_final)
			continue;
		if (veto.code < 0)
			return *err = veto, veto.code;
		return has_succeeded ? 0 : fail_because(err, EIO, "CRIU failed");
	}
}
