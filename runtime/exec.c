/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `exec`: a child is born into the container's pid namespace and cgroup v2, joins the rest, and becomes the program.
 * From its first step inside, everything it sees is the container's; it must not open anything there that it
 * would trust.
 */
#include "runtime/exec.h"

#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/console.h"
#include "runtime/exec_wait.h"
#include "runtime/init.h"
#include "runtime/launch.h"
#include "runtime/namespaces.h"
#include "runtime/process.h"
#include "runtime/process_schedule.h"
#include "runtime/report.h"
#include "runtime/resctrl.h"
#include "runtime/sync.h"
#include "runtime/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct exec {
	const struct exec_options *options;
	const struct container *container;
	const struct spec *spec;
	const struct spec_process *process;
	struct namespace_plan namespaces;
	struct cgroup cgroup;
	int sync_fds[2];
	int console_fd;
	int terminal_socket_fd;
	int cgroup_fd;
	struct exec_wait wait;
	pid_t pid;
};

static void exec_deinit(struct exec *self)
{
	const int fds[] = {self->sync_fds[0], self->sync_fds[1], self->console_fd, self->terminal_socket_fd, self->cgroup_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	exec_wait_close(&self->wait);
	namespace_plan_deinit(&self->namespaces);
}

static int append_path(struct cgroup_hierarchy *item, const char *path, struct error *err)
{
	size_t used = strlen(item->dir);

	if (strstr(path, "..") != NULL)
		return fail_because(err, EINVAL, "option --cgroup: bad sub cgroup path '%s': it contains '..'", path);
	if (path[0] != '\0' && strcmp(path, "/") != 0 &&
	    !text_fit(item->dir + used, sizeof(item->dir) - used, "%s%s", path[0] == '/' ? "" : "/", path))
		return fail_because(err, ENAMETOOLONG, "option --cgroup: '%s' is too long", path);
	if (!path_exists(AT_FDCWD, item->dir))
		return fail_because(err, ENOENT, "option --cgroup: adding pid of the process to %s: no such file or directory", item->dir);
	return 0;
}

static int move_to(struct cgroup *cgroup, const char *option, struct error *err)
{
	const char *colon = strchr(option, ':');
	auto_free char *controllers = colon != NULL ? text_format("%.*s", (int) (colon - option), option) : NULL;
	char *rest = NULL;

	for (size_t i = 0; colon == NULL && i < cgroup->count; i++)
		if (append_path(&cgroup->items[i], option, err) < 0)
			return err->code;
	for (char *name = colon != NULL ? strtok_r(controllers, ",", &rest) : NULL; name != NULL; name = strtok_r(NULL, ",", &rest)) {
		const struct cgroup_hierarchy *item = cgroup_find(cgroup, name);

		if (item == NULL)
			return fail_because(err, EINVAL, "option --cgroup: unknown controller '%s'", name);
		if (append_path(&cgroup->items[item - cgroup->items], colon + 1, err) < 0)
			return err->code;
	}
	return 0;
}

static int find_cgroup(struct exec *self, struct error *err)
{
	const char *path = self->container->state.cgroup_path;
	const struct cgroup_hierarchy *unified;

	if (cgroup_init(&self->cgroup, path != NULL ? path : "", err) < 0)
		return err->code;
	for (size_t i = 0; self->options->cgroups != NULL && self->options->cgroups[i] != NULL; i++)
		if (move_to(&self->cgroup, self->options->cgroups[i], err) < 0)
			return err->code;
	unified = cgroup_find(&self->cgroup, "");
	if (unified == NULL)
		return 0;
	self->cgroup_fd = open(unified->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return self->cgroup_fd < 0 ? fail_errno(err, errno, "open cgroup %s", unified->dir) : 0;
}

/* The container may have moved its processes below its cgroup, which then cannot take any itself (cgroup v2). */
static int follow_init(struct exec *self, struct error *err)
{
	auto_free char *path = text_format("/proc/%lld/cgroup", (long long) self->container->state.pid.value);
	auto_free char *data = NULL;
	auto_free char *dir = NULL;
	char *line, *end;

	if (file_read(AT_FDCWD, path, 65536, &data, NULL, err) < 0)
		return err->code;
	line = strstr(data, "0::/");
	if (line == NULL)
		return fail_because(err, ENOENT, "%s names no cgroup", path);
	end = strchr(line, '\n');
	if (end != NULL)
		*end = '\0';
	dir = text_format("%s%s", cgroup_find(&self->cgroup, "")->mount, line + 3);
	close(take_fd(&self->cgroup_fd));
	self->cgroup_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return self->cgroup_fd < 0 ? fail_errno(err, errno, "open cgroup %s", dir) : 0;
}

static int join_everything(struct exec *self, struct error *err)
{
	int fds[FD_PASS_MAX];
	size_t count = 0;

	if (sync_expect(self->sync_fds[1], MESSAGE_SETUP, NULL, fds, &count, err) < 0)
		return err->code;
	(void) cgroup_join(fds, count, err);
	while (count > 0)
		close(fds[--count]);
	if (err->code < 0 || namespace_plan_join(&self->namespaces, err) < 0)
		return err->code;
	if (self->namespaces.fds[NAMESPACE_USER] < 0)
		return 0;
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return fail_errno(err, errno, "become root of the user namespace");
	init_die_with_parent(self->sync_fds[1]);
	return 0;
}

static int take_terminal(const struct exec *self, struct error *err)
{
	auto_close int root_fd = FD_NONE;
	auto_close int slave_fd = FD_NONE;

	if (!self->process->terminal)
		return 0;
	root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return fail_errno(err, errno, "open /");
	if (console_open(root_fd, self->console_fd, self->process, &slave_fd, err) < 0)
		return err->code;
	return console_adopt(slave_fd, err);
}

static int receive_seccomp(const struct exec *self, struct seccomp_filter *filter, struct error *err)
{
	int fds[FD_PASS_MAX];
	size_t count = 0;
	char *data = NULL;
	size_t size = 0;
	int flags = 0;

	if (sync_expect(self->sync_fds[1], MESSAGE_SECCOMP, &flags, fds, &count, err) < 0)
		return err->code;
	if (count == 0)
		return 0;
	(void) file_read_fd(fds[0], "the seccomp filter", SECCOMP_INSTRUCTIONS_MAX * sizeof(struct sock_filter), &data, &size, err);
	while (count > 0)
		close(fds[--count]);
	filter->instructions = (struct sock_filter *) (void *) data;
	filter->count = size / sizeof(struct sock_filter);
	filter->flags = (uint32_t) flags;
	return err->code;
}

/* Who starts us may be bound to some processors; that says nothing about the container. */
static int choose_cpus(const struct spec_affinity *wanted, struct error *err)
{
	report_debug("nsexec, before the last step: affinity: 0x%llx", process_cpus());
	if (wanted->initial == NULL && wanted->final == NULL)
		process_unbind_from_cpus();
	return process_bind_to_cpus(wanted->final, err);
}

/* The command has nothing more to say, and so need not wait, too. */
static int await_reader(struct exec *self, struct process_context *process, struct error *err)
{
	if (self->options->wait_fifo == NULL)
		return 0;
	process->report_fd = FD_NONE;
	close(take_fd(&self->sync_fds[1]));
	return exec_wait_for_reader(&self->wait, err);
}

/* There is nobody but the reader of its standard error when the conversation is over. */
static _Noreturn void give_up(const struct exec *self, const struct error *failure)
{
	if (self->sync_fds[1] >= 0)
		sync_send_failure(self->sync_fds[1], failure);
	else
		(void) dprintf(STDERR_FILENO, "hydra: %s\n", failure->message);
	_exit(255);
}

/* Under a seccomp filter nothing more might be said. */
static int announce(const struct process_context *process)
{
	report_debug("setns_init: about to exec '%s'", process->process->args.items[0]);
	return 0;
}

static _Noreturn void become_process(struct exec *self)
{
	struct error failure = ERROR_NONE;
	struct seccomp_filter filter = {0};
	struct process_context process = {
		.process = self->process,
		.seccomp = &filter,
		.personality = self->spec->linux_part.personality,
		.memory_policy = self->spec->linux_part.memory_policy,
		.preserved_fds = self->options->preserved_fds + self->options->listen_fds,
		.listen_fds = self->options->listen_fds,
		.report_fd = self->sync_fds[1],
	};

	close(self->sync_fds[0]);
	init_die_with_parent(self->sync_fds[1]);
	init_reset_signals();
	(void) setsid();
	report_debug("child process in init(): joins container '%s'", self->container->id);
	if (process_open_labels(&process, &failure) == 0 && join_everything(self, &failure) == 0 &&
	    choose_cpus(&self->process->exec_affinity, &failure) == 0 &&
	    take_terminal(self, &failure) == 0 &&
	    receive_seccomp(self, &filter, &failure) == 0 && announce(&process) == 0 && process_prepare(&process, &failure) == 0 &&
	    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) == 0 &&
	    sync_send(self->sync_fds[1], MESSAGE_READY, 0, NULL, 0, &failure) == 0 &&
	    sync_expect(self->sync_fds[1], MESSAGE_COMMIT, NULL, NULL, NULL, &failure) == 0 &&
	    await_reader(self, &process, &failure) == 0)
		(void) process_execute(&process, &failure);
	give_up(self, &failure);
}

static int spawn(struct exec *self, struct error *err)
{
	const char *unit = self->container->state.systemd_unit;
	bool is_moved = false;

	report_debug("nsexec container setup: the process gets the namespaces of container '%s'", self->container->id);
	self->pid = namespace_plan_spawn(&self->namespaces, self->cgroup_fd, err);
	if (self->pid < 0 && err->code == -EBUSY && self->options->cgroups != NULL)
		return fail_because(err, EBUSY, "option --cgroup: adding pid of the process to cgroups: device or resource busy");
	if (self->pid < 0 && err->code == -EBUSY && follow_init(self, err) == 0) {
		*err = ERROR_NONE;
		self->pid = namespace_plan_spawn(&self->namespaces, self->cgroup_fd, err);
	}
	/* an ordinary user may not move a process from the cgroup of a session to those of the own systemd: that one may */
	if (self->pid < 0 && err->code == -EACCES && unit != NULL && unit[0] != '\0') {
		*err = ERROR_NONE;
		is_moved = true;
		self->pid = namespace_plan_spawn(&self->namespaces, FD_NONE, err);
	}
	if (self->pid == 0)
		become_process(self);
	close(take_fd(&self->sync_fds[1]));
	if (self->pid < 0)
		return err->code;
	return is_moved ? systemd_join(unit, self->pid, err) : 0;
}

static int provide(const struct exec *self, struct error *err)
{
	int fds[CGROUP_HIERARCHIES_MAX];
	size_t count = 0;
	int r;

	if (process_set_limits(self->process, self->pid, err) < 0 ||
	    resctrl_join(self->container->state.resctrl_group, &self->pid, 1, err) < 0 ||
	    cgroup_open_tasks(&self->cgroup, fds, &count, err) < 0)
		return err->code;
	r = sync_send(self->sync_fds[0], MESSAGE_SETUP, self->pid, fds, count, err);
	while (count > 0)
		close(fds[--count]);
	if (r < 0)
		return r;
	return launch_send_seccomp(self->sync_fds[0], self->spec->linux_part.seccomp, err);
}

static int forward_listener(const struct exec *self, int *fds, size_t count, struct error *err)
{
	int r = count == 1 ? launch_forward_listener(self->spec, &self->container->state, CONTAINER_RUNNING, self->pid, fds[0], err)
			   : fail_because(err, EPROTO, "the process sent no seccomp listener");

	while (count > 0)
		close(fds[--count]);
	return r < 0 ? r : sync_send(self->sync_fds[0], MESSAGE_HOOKS_DONE, 0, NULL, 0, err);
}

/* Until exec has happened: its sign is the end of the conversation. */
static int attend(const struct exec *self, struct error *err)
{
	struct message message = {0};
	bool is_committed = false;
	int fds[FD_PASS_MAX];
	size_t count = 0;
	int r;

	for (;;) {
		r = sync_receive(self->sync_fds[0], &message, fds, &count, err);
		if (r > 0)
			return is_committed ? 0 : fail_because(err, ECHILD, "the process died before it was ready");
		if (r == 0 && message.kind == MESSAGE_LISTENER)
			r = forward_listener(self, fds, count, err);
		if (r < 0)
			return r;
		if (message.kind != MESSAGE_READY)
			continue;
		if (launch_send_pidfd(self->options->pidfd_socket, self->pid, "setns", err) < 0 ||
		    launch_write_pid_file(self->options->pid_file, self->pid, err) < 0 ||
		    sync_send(self->sync_fds[0], MESSAGE_COMMIT, 0, NULL, 0, err) < 0)
			return err->code;
		is_committed = true;
	}
}

static int start(struct exec *self, struct error *err)
{
	if (process_check_labels(self->process, NULL, err) < 0 || process_schedule_check(self->process, err) < 0)
		return err->code;
	if (namespace_plan_of_process(&self->namespaces, (pid_t) self->container->state.pid.value, err) < 0 ||
	    (self->options->wait_fifo != NULL && exec_wait_open(&self->wait, self->options->wait_fifo, err) < 0) || find_cgroup(self, err) < 0 ||
	    launch_connect_console(self->process, self->options->console_socket, self->options->is_detached, &self->console_fd,
				   &self->terminal_socket_fd, err) < 0)
		return err->code;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self->sync_fds) < 0)
		return fail_errno(err, errno, "make a socket pair");
	/* inherited at birth, so that no step of the process runs elsewhere; its cgroup may narrow it down */
	if (process_bind_to_cpus(self->process->exec_affinity.initial, err) < 0 || spawn(self, err) < 0)
		return err->code;
	if (provide(self, err) < 0 && err->code != -EPIPE)
		return err->code;
	*err = ERROR_NONE;
	return attend(self, err);
}

int exec_process(const struct exec_options *options, const struct container *container, const struct spec *spec,
		 const struct spec_process *process, pid_t *ret_pid, int *ret_terminal_fd, struct error *err)
{
	struct exec self = {.options = options, .container = container, .spec = spec, .process = process,
			    .sync_fds = {FD_NONE, FD_NONE}, .console_fd = FD_NONE, .terminal_socket_fd = FD_NONE,
			    .cgroup_fd = FD_NONE, .wait = EXEC_WAIT_NONE};
	int r;

	namespace_plan_clear(&self.namespaces);
	r = start(&self, err);
	if (r < 0 && self.pid > 0) {
		(void) kill(self.pid, SIGKILL);
		(void) waitpid(self.pid, NULL, 0);
	}
	if (r == 0) {
		*ret_pid = self.pid;
		*ret_terminal_fd = take_fd(&self.terminal_socket_fd);
	}
	exec_deinit(&self);
	return r;
}
