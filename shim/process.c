/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/process.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/cgroup.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/deposit.h"
#include "shim/fifo.h"
#include "shim/shim.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct process *process_new(struct container *container, const char *exec_id)
{
	struct process *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return NULL;
	self->container = container;
	(void) text_fit(self->exec_id, sizeof(self->exec_id), "%s", exec_id);
	self->pidfd = FD_NONE;
	self->pidfd_source.fd = FD_NONE;
	self->console_listener.fd = FD_NONE;
	for (int end = 0; end < STREAM_ENDS; end++) {
		self->ends[end] = FD_NONE;
		self->sources[end].fd = FD_NONE;
	}
	for (int i = 0; i < 3; i++)
		self->child_ends[i] = FD_NONE;
	self->next = container->processes;
	container->processes = self;
	return self;
}

void process_free(struct process *self)
{
	struct event_loop *loop = &self->container->shim->loop;

	for (struct process **link = &self->container->processes; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	while (self->clients != NULL)
		client_free(self->clients);
	if (self->delete_call != NULL)
		ttrpc_refuse(self->delete_call, TTRPC_NOT_FOUND, "the process is gone");
	while (self->waiting != NULL) {
		struct ttrpc_call *call = self->waiting;

		self->waiting = call->waiting_next;
		ttrpc_refuse(call, TTRPC_NOT_FOUND, "the process is gone");
	}
	event_loop_disarm(loop, &self->client_timer);
	event_loop_disarm(loop, &self->look_timer);
	event_loop_remove(loop, &self->pidfd_source);
	owned_fd_release(&self->pidfd);
	process_close_stdio(self);
	fifos_free(self);
	output_free(self->log);
	message_free(self->exit);
	for (int i = 0; i < 3; i++)
		free(self->stdio_names[i]);
	free(self->input);
	free(self);
}

static void handle_pidfd(struct event_source *source, uint32_t events)
{
	(void) events;
	process_check(source->context);
}

static void give_up_on_client(struct event_timer *timer)
{
	struct process *self = timer->context;

	self->waits_for_client = false;
	process_resume_output(self);
}

/* Longer than any client needs between asking for a process and attaching to it. */
#define CLIENT_TIMEOUT_NS (10 * NS_PER_S)
/* The same when its container has ended, and with it the process: then we only live for that client. */
#define LAST_CLIENT_NS    (500 * NS_PER_MS)
#define LOOK_AGAIN_NS     (20 * NS_PER_MS)
#define ANSWER_NS         NS_PER_S /* a monitor that hangs is not waited for longer, */
#define LAST_ANSWER_NS    (10 * NS_PER_S) /* but where nobody else knows */

static void await_client(struct process *self, uint64_t timeout_ns)
{
	if (!self->waits_for_client)
		return;
	event_loop_disarm(&self->container->shim->loop, &self->client_timer);
	self->client_timer = (struct event_timer){.handle = give_up_on_client, .context = self};
	event_loop_arm(&self->container->shim->loop, &self->client_timer, timeout_ns);
}

void process_await_client(struct process *self)
{
	await_client(self, CLIENT_TIMEOUT_NS);
}

void process_await_last_client(struct process *self)
{
	await_client(self, LAST_CLIENT_NS);
}

int process_follow(struct process *self, pid_t pid, struct error *err)
{
	struct event_loop *loop = &self->container->shim->loop;
	int r;

	self->pidfd = kernel_pidfd_open(pid, 0);
	if (self->pidfd < 0)
		return fail_errno(err, errno, "follow process %d", (int) pid);
	self->pid = pid;
	if (self->start_time == 0)
		self->start_time = process_start_time_at_all(pid);
	self->pidfd_source = (struct event_source){.handle = handle_pidfd, .context = self, .fd = FD_NONE};
	r = event_loop_add(loop, &self->pidfd_source, self->pidfd, EPOLLIN, err);
	if (r < 0)
		return r;
	deposit_put_pidfd(self);
	for (int i = 0; i < 3; i++) {
		owned_fd_release(&self->child_ends[i]);
		self->child_ends[i] = FD_NONE;
	}
	process_await_client(self);
	fifos_start_input(self);
	process_resume_output(self);
	return 0;
}

/* Peeks at the end of our child without reaping it. 1: ended; 0: runs; -ECHILD: not ours. */
static int peek_child(pid_t pid, int *ret_wait_status, struct rusage *ret_usage)
{
	siginfo_t info = {0};

	if (syscall(SYS_waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT, ret_usage) < 0)
		return -errno;
	if (info.si_pid == 0)
		return 0;
	*ret_wait_status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status & 0x7f;
	return 1;
}

static uint64_t microseconds(const struct timeval *time)
{
	return (uint64_t) time->tv_sec * 1000000 + (uint64_t) time->tv_usec;
}

static void look_again(struct event_timer *timer)
{
	struct process *self = timer->context;

	if (self->is_asked)
		process_hear_end(self, NULL);
	else
		process_check(self);
}

/* Its descriptor is readable already: without this it would be looked at in a circle. */
static void look_again_in(struct process *self, uint64_t delay_ns)
{
	event_loop_remove(&self->container->shim->loop, &self->pidfd_source);
	event_loop_disarm(&self->container->shim->loop, &self->look_timer);
	self->look_timer = (struct event_timer){.handle = look_again, .context = self};
	event_loop_arm(&self->container->shim->loop, &self->look_timer, delay_ns);
}

/* True: it will answer, or is given up on. */
static bool ask_monitor(struct process *self)
{
	if (self->is_heard || self->start_time == 0)
		return false;
	if (!self->is_asked && !deposit_ask_end(self))
		return false;
	self->is_asked = true;
	look_again_in(self, self->pidfd >= 0 ? ANSWER_NS : LAST_ANSWER_NS);
	return true;
}

void process_hear_end(struct process *self, const struct store_end *end)
{
	if (!self->is_asked || (end != NULL && end->start_time != self->start_time))
		return;
	self->is_asked = false;
	self->is_heard = true;
	self->heard = end != NULL ? *end : (struct store_end){.wait_status = STORE_END_UNKNOWN};
	look_again_in(self, 0);
}

static void fill_usage(exit_record *exit, Hydra__V1__Usage *usage, const struct store_end *end)
{
	usage->user_us = end->user_us;
	usage->system_us = end->system_us;
	usage->max_rss_kib = end->max_rss_kib;
	exit->usage = usage;
	exit_record_set_status(exit, end->wait_status);
}

/* True when it ended; the record then says how, as far as anybody can know. */
static bool find_out(struct process *self, exit_record *exit, Hydra__V1__Usage *usage, char *reason, size_t reason_size)
{
	struct rusage resources = {0};
	int wait_status = 0;
	int r = peek_child(self->pid, &wait_status, &resources);

	if (r == 0)
		return false;
	if (r > 0) {
		usage->user_us = microseconds(&resources.ru_utime);
		usage->system_us = microseconds(&resources.ru_stime);
		usage->max_rss_kib = (uint64_t) resources.ru_maxrss;
		exit->usage = usage;
		exit_record_set_status(exit, wait_status);
		return true;
	}
	/* not our child: another shim's before us */
	if (ask_monitor(self))
		return false;
	if (self->is_heard && self->heard.wait_status != STORE_END_UNKNOWN) {
		fill_usage(exit, usage, &self->heard);
		return true;
	}
	r = kernel_pidfd_exit_status(self->pidfd, &wait_status);
	if (r == -EAGAIN) {
		self->is_heard = false;
		look_again_in(self, LOOK_AGAIN_NS);
		return false;
	}
	if (r == 0) {
		exit_record_set_status(exit, wait_status);
		return true;
	}
	(void) text_fit(reason, reason_size, "it ended while nobody could see its status: %s", strerrordesc_np(-r));
	exit->reason = reason;
	return true;
}

/* The kernel killed it for lack of memory: the count of its cgroup grew. */
static bool was_oom_killed(struct process *self, const exit_record *exit)
{
	struct container *container = self->container;
	uint64_t kills = cgroup_oom_kills(&container->cgroup);

	if (kills <= container->oom_kills)
		return false;
	container->oom_kills = kills;
	container_note(container, "oom", self, NULL);
	return exit->signal == SIGKILL;
}

static void record_end(struct process *self, exit_record *exit)
{
	struct container *container = self->container;
	char reason[256];
	struct error err;

	exit->version = EXIT_RECORD_VERSION;
	exit->id = container->dir.id;
	exit->exec_id = self->exec_id;
	exit->pid = self->pid;
	exit->started_ns = self->started_ns;
	exit->finished_ns = clock_realtime_ns();
	exit->restart_count = container->record->restart_count;
	exit->oom_killed = was_oom_killed(self, exit);
	if (self == container->init && migration_is_handed_over(container) &&
	    text_fit(reason, sizeof(reason), "migrated to %.200s", container->record->migration->peer)) {
		exit->is_known = false;
		exit->exit_code = exit->signal = 0;
		exit->reason = reason;
	} else if (self == container->init && container->record->restore_images[0] != '\0' &&
		   text_fit(reason, sizeof(reason), "checkpointed")) {
		exit->is_known = false;
		exit->exit_code = exit->signal = 0;
		exit->reason = reason;
	}
	fault_point("shim.before-exit-record");
	if (exit_record_save(container->dir.fd, exit, &err) < 0)
		log_error("exit record not written", "container=%s error=\"%s\"", container->dir.id, err.message);
	fault_point("shim.after-exit-record");
	self->exit = (exit_record *) (void *) message_copy(&exit->base);
}

static void forget_pidfd(struct process *self)
{
	deposit_drop_pidfd(self);
	event_loop_remove(&self->container->shim->loop, &self->pidfd_source);
	owned_fd_release(&self->pidfd);
	self->pidfd = FD_NONE;
}

void process_keep_pidfd(struct process *self, int fd)
{
	struct error ignored;

	if (self->pidfd >= 0 || self->has_ended) {
		(void) close(fd);
		return;
	}
	self->pidfd = fd;
	self->pidfd_source = (struct event_source){.handle = handle_pidfd, .context = self, .fd = FD_NONE};
	(void) event_loop_add(&self->container->shim->loop, &self->pidfd_source, fd, EPOLLIN, &ignored);
}

void process_check(struct process *self)
{
	exit_record exit = HYDRA__V1__EXIT_RECORD__INIT;
	Hydra__V1__Usage usage = HYDRA__V1__USAGE__INIT;
	char reason[128];

	if (self->has_ended || self->pid <= 0)
		return;
	if (self->container->operation != NULL) {
		/* the operation's own outcome comes first; container_finish() looks again */
		event_loop_remove(&self->container->shim->loop, &self->pidfd_source);
		return;
	}
	if (!find_out(self, &exit, &usage, reason, sizeof(reason)))
		return;
	record_end(self, &exit);
	self->has_ended = true;
	(void) waitpid(self->pid, NULL, WNOHANG);
	forget_pidfd(self);
	container_process_ended(self->container, self);
}

void process_ended_unseen(struct process *self, pid_t pid)
{
	struct container *container = self->container;
	exit_record exit = HYDRA__V1__EXIT_RECORD__INIT;
	char reason[] = "it ended while nobody watched over it";
	struct error ignored;

	self->pid = pid;
	process_resume_output(self); /* what it left in its pipes */
	if (exit_record_load(container->dir.fd, self->exec_id, &self->exit, &ignored) < 0) {
		if (self->pidfd >= 0 || ask_monitor(self))
			return; /* process_check() goes on */
		exit.reason = reason;
		record_end(self, &exit);
	}
	self->has_ended = true;
	container_process_ended(container, self);
}

void process_watch_end(struct process *self)
{
	struct error ignored;

	if (self->is_heard && !self->has_ended)
		look_again_in(self, 0);
	else if (!self->has_ended && self->pidfd >= 0 && self->pidfd_source.fd < 0)
		(void) event_loop_add(&self->container->shim->loop, &self->pidfd_source, self->pidfd, EPOLLIN, &ignored);
}
