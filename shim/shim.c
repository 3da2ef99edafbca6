/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/shim.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/owned.h"
#include "shim/container.h"
#include "shim/containerd.h"
#include "shim/deposit.h"
#include "shim/service.h"
#include "shim/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONELY_NS (2 * NS_PER_S)
#define FLUSH_NS  (100 * NS_PER_MS)
#define STACK_KEPT       1024
#define STACK_GIVEN_BACK ((size_t) 65536)

struct container *shim_container(const struct shim *self)
{
	return self->containers;
}

static struct process *find_process(struct shim *self, pid_t pid)
{
	for (struct container *container = self->containers; container != NULL; container = container->next) {
		for (struct process *process = container->processes; process != NULL; process = process->next) {
			if (process->pid == pid && !process->has_ended)
				return process;
		}
	}
	return NULL;
}

/* A child that the runtime is just making is not known yet: it is no orphan. */
static bool is_making_processes(const struct shim *self)
{
	for (const struct container *container = self->containers; container != NULL; container = container->next) {
		if (container->operation != NULL)
			return true;
	}
	return false;
}

void shim_reap(struct shim *self)
{
	siginfo_t info = {0};

	task_reap_all(self);
	while (!is_making_processes(self)) {
		struct process *known;

		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			break;
		known = find_process(self, info.si_pid);
		if (known != NULL)
			process_check(known);
		else if (task_owns(self, info.si_pid))
			task_reap_all(self);
		else
			(void) waitpid(info.si_pid, NULL, WNOHANG);
	}
	upgrade_consider(self);
}

static void handle_signal(struct event_loop *loop, const int signal_number, void *context)
{
	(void) loop;
	/* SIGTERM and SIGINT: the container is not ours to end; only its own end ends us */
	if (signal_number == SIGCHLD)
		shim_reap(context);
}

static void end(struct shim *self)
{
	for (struct container *container = self->containers; container != NULL; container = container->next)
		deposit_drop_all(container);
	event_loop_stop(&self->loop, 0);
}

void shim_consider_end(struct shim *self)
{
	for (struct container *container = self->containers; container != NULL; container = container->next)
		container_forget_execs(container);
	if (self->containerd != NULL) {
		if (containerd_progress(self))
			end(self);
		return;
	}
	for (struct container *container = self->containers; container != NULL; container = container->next) {
		if (container->is_vanishing && container->operation == NULL)
			continue;
		if (!container_is_at_rest(container) ||
		    container->record->state != HYDRA__V1__CONTAINER_STATE__STATE_STOPPED || container->init == NULL)
			return;
	}
	if (!ttrpc_server_is_flushed(&self->server) && !self->is_ending) {
		self->is_ending = true;
		event_loop_arm(&self->loop, &self->end_timer, FLUSH_NS);
		return;
	}
	end(self);
}

/* Whoever made it died before it could ask for anything: nobody else will. */
static bool is_forgotten(const struct container *container)
{
	return container->init == NULL && container->operation == NULL && !container->record->restart_is_pending &&
	       !run_dir_is_locked(&container->dir, LOCK_SETUP);
}

/* Looks, until there is a process, whether anybody is still at work on the container. */
static void lonely(struct event_timer *timer)
{
	struct shim *self = timer->context;
	struct container *container = self->containers;

	if (self->is_ending) {
		shim_consider_end(self);
	} else if (self->containerd == NULL && container != NULL && is_forgotten(container)) {
		container->is_vanishing = true;
		shim_consider_end(self);
	} else if (self->containerd == NULL && container != NULL && container->init == NULL) {
		event_loop_arm(&self->loop, timer, LONELY_NS);
	}
}

static int watch_signals(struct shim *self, struct error *err)
{
	sigset_t mask;

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGCHLD);
	(void) sigaddset(&mask, SIGTERM);
	(void) sigaddset(&mask, SIGINT);
	(void) signal(SIGPIPE, SIG_IGN);
	(void) signal(SIGHUP, SIG_IGN);
	return event_loop_watch_signals(&self->loop, &mask, handle_signal, self, err);
}

/* Most shims are idle from now on: what the call needed goes back to the system. Nothing reads what deeper calls left
 * on the stack; what is kept below this frame is for the system call itself. */
static void give_memory_back(struct ttrpc_server *server)
{
	uintptr_t page_size = (uintptr_t) sysconf(_SC_PAGESIZE);
	uintptr_t end = ((uintptr_t) __builtin_frame_address(0) - STACK_KEPT) & ~(page_size - 1);

	if (((struct shim *) server->context)->containerd != NULL)
		shim_consider_end(server->context);
	(void) malloc_trim(0);
	(void) madvise((void *) (end - STACK_GIVEN_BACK), STACK_GIVEN_BACK, MADV_DONTNEED);
}

int shim_init(struct shim *self, const char *root, const char *namespace, int listen_fd, struct error *err)
{
	int r;

	*self = (struct shim){.root = root, .namespace = namespace, .listen_fd = listen_fd, .lock_fd = FD_NONE, .calls_fd = FD_NONE};
	self->end_timer = (struct event_timer){.handle = lonely, .context = self};
	(void) fcntl(listen_fd, F_SETFD, FD_CLOEXEC);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return fail_errno(err, errno, "become a subreaper");
	self->runtime_path = child_program("hydra");
	self->checkpoint_path = child_program("hydra-checkpoint");
	self->pager_path = child_program("hydra-pager");
	r = event_loop_init(&self->loop, err);
	if (r == 0)
		r = watch_signals(self, err);
	if (r == 0)
		r = ttrpc_server_init(&self->server, &self->loop, listen_fd, service_methods, self, err);
	if (r == 0)
		self->server.on_hangup = give_memory_back;
	if (r == 0)
		event_loop_arm(&self->loop, &self->end_timer, LONELY_NS);
	if (r == 0)
		deposits_init(self);
	return r;
}
