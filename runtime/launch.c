/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `create` and `run`, seen from outside the container.
 *
 * The state is written before anything else is made and again when the pid is known, so that a crash at any point
 * leaves what `delete --force` can find. cgroup v1 limits and the seccomp program are made while init mounts.
 */
#include "runtime/launch.h"

#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/cgroup_delegate.h"
#include "runtime/hooks.h"
#include "runtime/init.h"
#include "runtime/namespaces.h"
#include "runtime/net_devices.h"
#include "runtime/notify_socket.h"
#include "runtime/place.h"
#include "runtime/preflight.h"
#include "runtime/process.h"
#include "runtime/report.h"
#include "runtime/resctrl.h"
#include "runtime/sources.h"
#include "runtime/sync.h"
#include "runtime/user_map.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct launch {
	const struct launch_options *options;
	struct launched *result;
	struct namespace_plan namespaces;
	struct place place;
	char *keyring;
	struct sources sources;
	int sync_fds[2];
	int console_fd;
	int terminal_socket_fd;
	int start_fd;
	int reply_fd;
	int cgroup_fd;
	bool hooks_have_run;
};

static void launch_deinit(struct launch *self)
{
	const int fds[] = {self->sync_fds[0], self->sync_fds[1], self->console_fd, self->terminal_socket_fd,
			   self->start_fd,    self->reply_fd,    self->cgroup_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	sources_close(&self->sources);
	free(self->keyring);
	namespace_plan_deinit(&self->namespaces);
}

static int make_pipe(int dir_fd, const char *name, int *ret_fd, struct error *err)
{
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return fail_errno(err, errno, "remove old %s", name);
	if (mkfifoat(dir_fd, name, 0600) < 0)
		return fail_errno(err, errno, "make %s", name);
	*ret_fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC);
	return *ret_fd < 0 ? fail_errno(err, errno, "open %s", name) : 0;
}

static int make_pipes(struct launch *self, struct error *err)
{
	int dir_fd = self->result->container.dir_fd;

	if (self->options->starts_at_once)
		return 0;
	if (make_pipe(dir_fd, CONTAINER_START_PIPE, &self->start_fd, err) < 0)
		return err->code;
	return make_pipe(dir_fd, CONTAINER_REPLY_PIPE, &self->reply_fd, err);
}

int launch_connect_console(const struct spec_process *process, const char *console_socket, bool is_detached,
			   int *ret_socket_fd, int *ret_own_end_fd, struct error *err)
{
	int ends[2];

	if (!process->terminal)
		return console_socket == NULL ? 0 : fail_because(err, EINVAL, "option --console-socket: process.terminal is not set");
	if (console_socket != NULL)
		return is_detached ? socket_connect(console_socket, ret_socket_fd, err)
				   : fail_because(err, EINVAL, "option --console-socket: needs a detached container");
	if (is_detached)
		return fail_because(err, EINVAL, "process.terminal: a detached container needs --console-socket");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, errno, "make a socket for the terminal");
	*ret_socket_fd = ends[0];
	*ret_own_end_fd = ends[1];
	return 0;
}

static int gather(struct launch *self, struct error *err)
{
	const struct spec *spec = &self->result->spec;

	if (namespace_plan_init(&self->namespaces, spec, err) < 0 ||
	    launch_connect_console(spec->process, self->options->console_socket, self->options->is_detached, &self->console_fd,
				   &self->terminal_socket_fd, err) < 0)
		return err->code;
	self->sources.spec = spec;
	self->sources.bundle = self->place.bundle;
	self->sources.rootfs = self->place.rootfs;
	self->sources.folder_fd = self->result->container.dir_fd;
	self->sources.has_user_namespace = namespace_plan_has_user(&self->namespaces);
	self->sources.without_pivot = self->options->without_pivot;
	if (make_pipes(self, err) < 0 || sources_open(&self->sources, err) < 0)
		return err->code;
	if (!self->options->keeps_keyring)
		self->keyring = text_format("_ses.%s", self->options->id);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self->sync_fds) < 0)
		return fail_errno(err, errno, "make a socket pair");
	return 0;
}

static _Noreturn void become_init(struct launch *self)
{
	struct init_context init = {
		.spec = &self->result->spec,
		.namespaces = &self->namespaces,
		.cgroup = &self->place.cgroup,
		.bundle = self->place.bundle,
		.rootfs = self->place.rootfs,
		.keyring = self->keyring,
		.state = &self->result->container.state,
		.sources = &self->sources,
		.sync_fd = self->sync_fds[1],
		.console_fd = self->console_fd,
		.start_fd = self->start_fd,
		.reply_fd = self->reply_fd,
		.preserved_fds = self->options->preserved_fds,
		.listen_fds = self->options->listen_fds,
		.without_pivot = self->options->without_pivot,
	};

	close(self->sync_fds[0]);
	/* the lock belongs to the command */
	close(self->result->container.dir_fd);
	init_run(&init);
}

/* An ordinary user may not move a process from the cgroup of a session to those of the own systemd: that one may. */
static bool must_be_moved(const struct launch *self, const struct error *err)
{
	return err->code == -EACCES && self->cgroup_fd >= 0 && self->place.hold.pid > 0;
}

/* cgroup v1 is joined later, by init itself. */
static int settle(struct launch *self, bool is_late, bool is_moved, struct error *err)
{
	int r = 0;

	if (is_moved) {
		r = systemd_attach(&self->place.hold, self->result->pid, err);
	} else if (is_late && self->cgroup_fd >= 0) {
		auto_free char *text = text_format("%d", self->result->pid);
		auto_free char *path = text_format("%s/cgroup.procs", cgroup_find(&self->place.cgroup, "")->dir);

		r = file_set(AT_FDCWD, path, text, err);
		if (r < 0 && must_be_moved(self, err)) {
			*err = ERROR_NONE;
			r = systemd_attach(&self->place.hold, self->result->pid, err);
		}
	}
	if (r == 0 && self->place.cgroup.is_unified)
		place_release_unit(&self->place, &self->result->spec);
	return r;
}

static int spawn(struct launch *self, struct error *err)
{
	struct spec *spec = &self->result->spec;
	bool is_late = self->namespaces.fds[NAMESPACE_USER] >= 0, is_moved = false;
	pid_t pid;

	if (place_start_unit(&self->place, spec, &self->result->container, err) < 0 ||
	    cgroup_make_unified(&self->place.cgroup, &spec->linux_part.resources, &self->cgroup_fd, err) < 0 ||
	    (cgroup_delegate_is_wanted(spec) && cgroup_delegate(&self->place.cgroup, spec, err) < 0) ||
	    place_make_room(&self->place, spec, err) < 0)
		return err->code;
	fault_point("create-cgroup-made");
	report_debug("nsexec container setup: the container's init gets its namespaces");
	pid = namespace_plan_spawn(&self->namespaces, is_late ? FD_NONE : self->cgroup_fd, err);
	if (pid < 0 && must_be_moved(self, err)) {
		*err = ERROR_NONE;
		is_moved = true;
		pid = namespace_plan_spawn(&self->namespaces, FD_NONE, err);
	}
	if (pid < 0)
		return err->code;
	if (pid == 0)
		become_init(self);
	self->result->pid = pid;
	close(take_fd(&self->sync_fds[1]));
	return settle(self, is_late, is_moved, err);
}

static int send_setup(struct launch *self, struct error *err)
{
	int fds[CGROUP_HIERARCHIES_MAX];
	size_t count = 0;
	int r;

	if (cgroup_make_legacy(&self->place.cgroup, &self->result->spec.linux_part.resources, err) < 0 ||
	    cgroup_open_tasks(&self->place.cgroup, fds, &count, err) < 0)
		return err->code;
	r = sync_send(self->sync_fds[0], MESSAGE_SETUP, self->result->pid, fds, count, err);
	while (count > 0)
		close(fds[--count]);
	return r;
}

static int give_devices(const struct launch *self, struct error *err)
{
	auto_free char *path = text_format("/proc/%d/ns/net", self->result->pid);
	auto_close int own_fd = FD_NONE;
	int joined_fd = self->namespaces.fds[NAMESPACE_NETWORK];

	if (self->result->spec.linux_part.net_devices.count == 0)
		return 0;
	if (joined_fd < 0)
		own_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (joined_fd < 0 && own_fd < 0)
		return fail_errno(err, errno, "open %s", path);
	return net_devices_move(&self->result->spec, joined_fd >= 0 ? joined_fd : own_fd, err);
}

static int provide(struct launch *self, struct error *err)
{
	const struct spec_linux *part = &self->result->spec.linux_part;

	bool has_new_user = self->namespaces.is_new[NAMESPACE_USER];

	/* once init is another user, an ordinary user could not set its limits any more */
	if ((has_new_user && user_map_write(self->result->pid, &part->uid_mappings, &part->gid_mappings, err) < 0) ||
	    process_set_limits(self->result->spec.process, self->result->pid, err) < 0 ||
	    (has_new_user && sync_send(self->sync_fds[0], MESSAGE_MAPPED, 0, NULL, 0, err) < 0))
		return err->code;
	if (resctrl_join(self->result->container.state.resctrl_group, &self->result->pid, 1, err) < 0 || give_devices(self, err) < 0 ||
	    send_setup(self, err) < 0)
		return err->code;
	return launch_send_seccomp(self->sync_fds[0], part->seccomp, err);
}

static int run_create_hooks(struct launch *self, struct error *err)
{
	const struct spec_hooks *hooks = &self->result->spec.hooks;
	const struct container_state *state = &self->result->container.state;

	self->hooks_have_run = true;
	/* all that create makes is there by now, except for what createContainer's are for */
	if (hooks_run(&hooks->prestart, "prestart", state, CONTAINER_CREATED, err) < 0 ||
	    hooks_run(&hooks->create_runtime, "createRuntime", state, CONTAINER_CREATING, err) < 0)
		return err->code;
	return sync_send(self->sync_fds[0], MESSAGE_HOOKS_DONE, 0, NULL, 0, err);
}

static int handle(struct launch *self, const struct message *message, const int *fds, size_t count, struct error *err)
{
	if (message->kind == MESSAGE_WANTS_HOOKS)
		return run_create_hooks(self, err);
	if (message->kind != MESSAGE_LISTENER || count != 1)
		return fail_because(err, EPROTO, "the container's init sent an unexpected message");
	if (launch_forward_listener(&self->result->spec, &self->result->container.state, CONTAINER_CREATING,
				    self->result->pid, fds[0], err) < 0)
		return err->code;
	return sync_send(self->sync_fds[0], MESSAGE_HOOKS_DONE, 0, NULL, 0, err);
}

/* Serves init until it only waits for its start. */
static int attend(struct launch *self, struct error *err)
{
	struct message message = {0};
	int fds[FD_PASS_MAX];
	size_t count = 0;
	int r = 0;

	while (r == 0) {
		r = sync_receive(self->sync_fds[0], &message, fds, &count, err);
		if (r > 0)
			return fail_because(err, ECHILD, "the container's init died before it was ready");
		if (r == 0 && message.kind == MESSAGE_READY)
			return 0;
		if (r == 0)
			r = handle(self, &message, fds, count, err);
		/* it has gone away: why, is the next thing to be read */
		if (r == -EPIPE)
			r = 0;
		while (count > 0)
			close(fds[--count]);
	}
	return r;
}

static int finish(struct launch *self, struct error *err)
{
	const struct launch_options *options = self->options;
	const char *receiver = spec_annotation(&self->result->spec, "run.oci.pidfd_receiver");
	pid_t pid = self->result->pid;

	self->result->container.state.start_time.value = container_process_start_time(pid);
	fault_point("create-ready");
	if (container_save(&self->result->container, err) < 0 || launch_send_pidfd(options->pidfd_socket, pid, "standard", err) < 0 ||
	    launch_send_pidfd(receiver, pid, "standard", err) < 0 ||
	    launch_write_pid_file(options->pid_file, pid, err) < 0)
		return err->code;
	fault_point("create-committing");
	return sync_send(self->sync_fds[0], MESSAGE_COMMIT, 0, NULL, 0, err);
}

static int make(struct launch *self, struct error *err)
{
	struct container *container = &self->result->container;
	struct container_state *state = &container->state;
	struct spec *spec = &self->result->spec;

	if (place_save(&self->place, spec, container, err) < 0 || notify_socket_add(spec, container, err) < 0 ||
	    (self->options->starts_at_once && notify_socket_open(container, &self->result->notify_fd, err) < 0) ||
	    resctrl_make(spec->linux_part.intel_rdt, state->id, err) < 0 || gather(self, err) < 0 || spawn(self, err) < 0)
		return err->code;
	fault_point("create-spawned");
	state->pid = (struct json_int){.is_set = true, .value = self->result->pid};
	/* init knows better what went wrong if it failed while we talked to it */
	if (provide(self, err) < 0 && err->code != -EPIPE)
		return err->code;
	if (attend(self, err) < 0)
		return err->code;
	place_release_unit(&self->place, spec);
	return finish(self, err);
}

static void undo(struct launch *self)
{
	struct launched *result = self->result;
	struct error ignored;

	place_release_unit(&self->place, &result->spec);
	if (result->pid > 0) {
		(void) kill(result->pid, SIGKILL);
		(void) waitpid(result->pid, NULL, 0);
	}
	(void) launch_destroy(&result->container, self->hooks_have_run ? &result->spec.hooks.poststop : NULL, &ignored);
}

/* Its name and its cgroup; who is in a unit, systemd knows. */
static int claim(struct launch *self, struct error *err)
{
	struct container *container = &self->result->container;
	struct error ignored;

	if (container_make(container, self->options->root, self->options->id, err) < 0)
		return err->code;
	if (!self->options->uses_systemd && cgroup_check_vacant(&self->place.cgroup, err) < 0)
		(void) container_forget(container, &ignored);
	return err->code;
}

int launch_container(const struct launch_options *options, struct launched *ret_launched, struct error *err)
{
	struct launch launch = {.options = options, .result = ret_launched, .sync_fds = {FD_NONE, FD_NONE}, .console_fd = FD_NONE,
				.terminal_socket_fd = FD_NONE, .start_fd = FD_NONE, .reply_fd = FD_NONE, .cgroup_fd = FD_NONE,
				.sources = {.root_tree_fd = FD_NONE}, .place.hold = SYSTEMD_HOLD_NONE};
	const struct place_request request = {options->id, options->bundle, options->config, options->has_cgroups, options->uses_systemd};
	int r;

	*ret_launched = (struct launched){.container = {.dir_fd = FD_NONE}, .sync_fd = FD_NONE, .terminal_fd = FD_NONE, .notify_fd = FD_NONE};
	namespace_plan_clear(&launch.namespaces);
	r = place_find(&launch.place, &request, &ret_launched->spec, err);
	if (r == 0) {
		user_map_complete(&ret_launched->spec);
		r = preflight_check(&ret_launched->spec, &launch.place.cgroup, err);
	}
	if (r == 0)
		r = sources_check(&ret_launched->spec, launch.place.bundle, err);
	if (r == 0)
		r = claim(&launch, err);
	if (r == 0) {
		r = make(&launch, err);
		if (r < 0)
			undo(&launch);
	}
	if (r == 0) {
		ret_launched->sync_fd = take_fd(&launch.sync_fds[0]);
		ret_launched->terminal_fd = take_fd(&launch.terminal_socket_fd);
	} else {
		launched_deinit(ret_launched);
	}
	launch_deinit(&launch);
	return r;
}

void launched_deinit(struct launched *self)
{
	container_close(&self->container);
	spec_deinit(&self->spec);
	if (self->sync_fd >= 0)
		close(self->sync_fd);
	if (self->terminal_fd >= 0)
		close(self->terminal_fd);
	if (self->notify_fd >= 0)
		close(self->notify_fd);
	self->sync_fd = self->terminal_fd = self->notify_fd = FD_NONE;
}
