/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order matters: what needs the host's files comes before the root is entered, what needs privileges before they
 * are dropped, and what an image could influence as late as possible.
 */
#include "runtime/init.h"

#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "runtime/console.h"
#include "runtime/devices.h"
#include "runtime/hooks.h"
#include "runtime/mounts.h"
#include "runtime/process.h"
#include "runtime/process_schedule.h"
#include "runtime/report.h"
#include "runtime/rootfs.h"
#include "runtime/seccomp_filter.h"
#include "runtime/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

void init_die_with_parent(int sync_fd)
{
	struct pollfd hangup = {.fd = sync_fd};

	(void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* getppid() cannot tell whether it died before the call above when it is outside of our pid namespace */
	if (poll(&hangup, 1, 0) > 0 && (hangup.revents & POLLHUP) != 0)
		_exit(255);
}

void init_reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void) signal(number, SIG_DFL);
	(void) sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In a new user namespace we are nobody until we take on the id that root has there. */
static int become_root(const struct init_context *self, struct error *err)
{
	if (self->namespaces->is_new[NAMESPACE_USER] && sync_expect(self->sync_fd, MESSAGE_MAPPED, NULL, NULL, NULL, err) < 0)
		return err->code;
	/* who has changed his user may not open what belongs to the other one, his own files in /proc among it */
	if (sources_open_inside(self->sources, err) < 0 || namespace_plan_new_time(self->namespaces, self->spec, err) < 0)
		return err->code;
	if (!namespace_plan_has_user(self->namespaces))
		return 0;
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return fail_errno(err, errno, "become root of the user namespace");
	/* the change has taken the signal back */
	init_die_with_parent(self->sync_fd);
	return 0;
}

static int join_cgroup(struct init_context *self, struct error *err)
{
	int fds[FD_PASS_MAX];
	size_t count = 0;
	int pid = 0;

	if (sync_expect(self->sync_fd, MESSAGE_SETUP, &pid, fds, &count, err) < 0)
		return err->code;
	self->state->pid = (struct json_int){.is_set = true, .value = pid};
	(void) cgroup_join(fds, count, err);
	while (count > 0)
		close(fds[--count]);
	return err->code < 0 ? err->code : namespace_plan_new_cgroup(self->namespaces, err);
}

static int receive_seccomp(struct init_context *self, struct error *err)
{
	struct seccomp_filter *filter = &self->filter;
	int fds[FD_PASS_MAX];
	size_t count = 0;
	int flags = 0;
	char *data = NULL;
	size_t size = 0;
	int r;

	if (sync_expect(self->sync_fd, MESSAGE_SECCOMP, &flags, fds, &count, err) < 0)
		return err->code;
	if (count == 0)
		return 0;
	r = file_read_fd(fds[0], "the seccomp filter", SECCOMP_INSTRUCTIONS_MAX * sizeof(struct sock_filter), &data, &size, err);
	while (count > 0)
		close(fds[--count]);
	if (r < 0)
		return r;
	filter->instructions = (struct sock_filter *) (void *) data;
	filter->count = size / sizeof(struct sock_filter);
	filter->flags = (uint32_t) flags;
	return 0;
}

/* The first mount that shows cgroups needs us to be in ours. */
static bool is_cgroup_mount(const struct spec_mount *mount)
{
	return mount->type != NULL && strcmp(mount->type, "cgroup") == 0;
}

static int make_mounts(struct init_context *self, int root_fd, bool *has_joined, struct error *err)
{
	struct mount_context context = {
		.root_fd = root_fd,
		.bundle = self->bundle,
		.cgroup = self->cgroup,
		.has_cgroup_namespace = self->namespaces->is_new[NAMESPACE_CGROUP],
		.is_in_user_namespace = namespace_plan_has_user(self->namespaces),
		.label = self->spec->linux_part.mount_label,
		.source_fds = self->sources->fds,
		.device_fds = self->sources->device_fds,
	};

	for (size_t i = 0; i < self->spec->mounts.count; i++) {
		if (is_cgroup_mount(&self->spec->mounts.items[i]) && !*has_joined) {
			if (join_cgroup(self, err) < 0)
				return err->code;
			*has_joined = true;
		}
		if (mounts_make(&context, i, &self->spec->mounts.items[i], err) < 0)
			return fail_while(err, "mounts[%zu]", i);
	}
	return devices_are_wanted(self->spec) ? devices_make(&context, self->spec, err) : 0;
}

/* A missing working directory is made, as runc does. */
static int make_cwd(const struct init_context *self, int root_fd, struct error *err)
{
	auto_close int fd = FD_NONE;

	return mounts_open_target(root_fd, self->spec->process->cwd, true, &fd, err);
}

static int open_console(const struct init_context *self, int root_fd, int *ret_slave_fd, struct error *err)
{
	if (!self->spec->process->terminal)
		return 0;
	if (console_open(root_fd, self->console_fd, self->spec->process, ret_slave_fd, err) < 0)
		return err->code;
	return console_bind(root_fd, *ret_slave_fd, err);
}

static int run_hooks(struct init_context *self, struct error *err)
{
	const struct spec_hooks *hooks = &self->spec->hooks;

	/* the parent has sent the filter before it listens to us */
	if (receive_seccomp(self, err) < 0)
		return err->code;
	if (hooks->prestart.count + hooks->create_runtime.count > 0 &&
	    (sync_send(self->sync_fd, MESSAGE_WANTS_HOOKS, 0, NULL, 0, err) < 0 ||
	     sync_expect(self->sync_fd, MESSAGE_HOOKS_DONE, NULL, NULL, NULL, err) < 0))
		return err->code;
	/* these may count on the rootfs being where they start, as runc has it */
	if (hooks->create_container.count > 0 && chdir(self->rootfs) < 0)
		return fail_errno(err, errno, "go to the rootfs '%s'", self->rootfs);
	return hooks_run(&hooks->create_container, "createContainer", self->state, CONTAINER_CREATING, err);
}

static int set_names(const struct spec *spec, struct error *err)
{
	if (spec->hostname != NULL && spec->hostname[0] != '\0' && sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return fail_errno(err, errno, "set the host name '%s'", spec->hostname);
	if (spec->domainname != NULL && spec->domainname[0] != '\0' &&
	    setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
		return fail_errno(err, errno, "set the domain name '%s'", spec->domainname);
	return 0;
}

/* Without a mount namespace of its own the container shares ours, and nothing may be mounted. */
static int enter_without_mounts(struct init_context *self, bool *has_joined, struct error *err)
{
	if (!*has_joined && join_cgroup(self, err) < 0)
		return err->code;
	*has_joined = true;
	if (run_hooks(self, err) < 0)
		return err->code;
	if (chroot(self->rootfs) < 0 || chdir("/") < 0)
		return fail_errno(err, errno, "enter rootfs '%s'", self->rootfs);
	return 0;
}

static int build_root(struct init_context *self, int *ret_slave_fd, struct error *err)
{
	auto_close int root_fd = FD_NONE;
	bool has_joined = false;

	if (!self->namespaces->is_new[NAMESPACE_MOUNT] && self->namespaces->fds[NAMESPACE_MOUNT] < 0)
		return enter_without_mounts(self, &has_joined, err);
	if (rootfs_prepare(self->spec, self->rootfs, self->sources->root_tree_fd, &root_fd, err) < 0 ||
	    make_mounts(self, root_fd, &has_joined, err) < 0)
		return err->code;
	if (!has_joined && join_cgroup(self, err) < 0)
		return err->code;
	if (devices_reopen_null(root_fd, err) < 0 || open_console(self, root_fd, ret_slave_fd, err) < 0 ||
	    make_cwd(self, root_fd, err) < 0 || rootfs_set_sysctls(self->spec, err) < 0 || run_hooks(self, err) < 0 ||
	    rootfs_guard(self->spec, root_fd, err) < 0)
		return err->code;
	return rootfs_enter(self->spec, root_fd, self->without_pivot, err);
}

static int dress(struct init_context *self, struct process_context *process, struct error *err)
{
	auto_close int slave_fd = FD_NONE;

	if (process_open_labels(process, err) < 0 || become_root(self, err) < 0 || namespace_plan_join(self->namespaces, err) < 0)
		return err->code;
	(void) umask(0);
	if (namespace_plan_raise_loopback(self->namespaces, err) < 0 || set_names(self->spec, err) < 0 ||
	    build_root(self, &slave_fd, err) < 0)
		return err->code;
	if (slave_fd >= 0 && console_adopt(slave_fd, err) < 0)
		return err->code;
	process_unbind_from_cpus();
	/* under a seccomp filter nothing more might be said */
	report_debug("init: closing the pipe to signal completion, by executing '%s', is what remains", self->spec->process->args.items[0]);
	return process_prepare(process, err);
}

/* After COMMIT the command may be gone; what `start` says comes through a pipe. */
static int await_start(const struct init_context *self, struct error *err)
{
	char byte;
	ssize_t size;

	(void) prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	if (sync_send(self->sync_fd, MESSAGE_READY, 0, NULL, 0, err) < 0 ||
	    sync_expect(self->sync_fd, MESSAGE_COMMIT, NULL, NULL, NULL, err) < 0)
		return err->code;
	if (self->start_fd < 0)
		return 0;
	(void) close(self->sync_fd);
	do
		size = read(self->start_fd, &byte, 1);
	while (size < 0 && errno == EINTR);
	return size == 1 ? 0 : fail_errno(err, errno != 0 ? errno : EPIPE, "wait for the start");
}

static _Noreturn void report(const struct init_context *self, const struct error *failure, bool is_committed)
{
	if (is_committed && self->reply_fd >= 0)
		(void) fd_write_full(self->reply_fd, failure->message, strlen(failure->message));
	else
		sync_send_failure(self->sync_fd, failure);
	_exit(255);
}

/* They are programs of the container, and so under its filter, whether that had to be installed earlier or not. */
static int run_start_hooks(const struct init_context *self, struct process_context *process, struct error *err)
{
	const spec_hook_list *hooks = &self->spec->hooks.start_container;

	if (hooks->count == 0)
		return 0;
	return process_enter_filter(process, err) < 0 ? err->code : hooks_run(hooks, "startContainer", self->state, CONTAINER_CREATED, err);
}

_Noreturn void init_run(struct init_context *self)
{
	struct error failure = ERROR_NONE;
	struct process_context process = {
		.process = self->spec->process,
		.seccomp = &self->filter,
		.keyring = self->keyring,
		.personality = self->spec->linux_part.personality,
		.memory_policy = self->spec->linux_part.memory_policy,
		.keeps_groups = spec_annotation_is_true(self->spec, "run.oci.keep_original_groups"),
		.preserved_fds = self->preserved_fds + self->listen_fds,
		.listen_fds = self->listen_fds,
		.report_fd = self->sync_fd,
	};

	init_die_with_parent(self->sync_fd);
	init_reset_signals();
	(void) setsid();
	report_debug("child process in init(): makes the container");
	if (dress(self, &process, &failure) < 0 || await_start(self, &failure) < 0)
		report(self, &failure, false);
	if (run_start_hooks(self, &process, &failure) == 0)
		(void) process_execute(&process, &failure);
	report(self, &failure, true);
}
