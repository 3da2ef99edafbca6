/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra create, hydra run.
 */
#include "base/owned.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/foreground.h"
#include "runtime/hooks.h"
#include "runtime/launch.h"
#include "runtime/notify_socket.h"
#include "runtime/process.h"
#include "runtime/sync.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

struct create_options {
	struct launch_options launch;
	bool is_kept;
	bool is_ignored;
};

#define CREATE_MEMBER(member) offsetof(struct create_options, member)
#define CREATE_ENTRIES                                                                                                 \
	{'b', "bundle", "DIR", OPTION_STRING, CREATE_MEMBER(launch.bundle), "folder of config.json and the rootfs (.)"},     \
	{'f', "config", "FILE", OPTION_STRING, CREATE_MEMBER(launch.config), "another name for config.json"},              \
	{0, "console-socket", "PATH", OPTION_STRING, CREATE_MEMBER(launch.console_socket), "socket that gets the terminal"}, \
	{0, "pidfd-socket", "PATH", OPTION_STRING, CREATE_MEMBER(launch.pidfd_socket), "socket that gets a pidfd of init"}, \
	{0, "pid-file", "FILE", OPTION_STRING, CREATE_MEMBER(launch.pid_file), "file that gets the pid of init"},          \
	{0, "no-pivot", NULL, OPTION_FLAG, CREATE_MEMBER(launch.without_pivot), "move the root instead of pivot_root"},    \
	{0, "no-new-keyring", NULL, OPTION_FLAG, CREATE_MEMBER(launch.keeps_keyring), "keep the session keyring"},         \
	{0, "preserve-fds", "N", OPTION_INT, CREATE_MEMBER(launch.preserved_fds), "leave N descriptors from 3 on open"},   \
	{0, "no-subreaper", NULL, OPTION_FLAG, CREATE_MEMBER(is_ignored), "accepted, without effect"}

static const struct option_entry create_entries[] = {CREATE_ENTRIES, {0, NULL}};
static const struct option_entry run_entries[] = {
	CREATE_ENTRIES,
	{'d', "detach", NULL, OPTION_FLAG, CREATE_MEMBER(launch.is_detached), "do not wait for the container"},
	{0, "keep", NULL, OPTION_FLAG, CREATE_MEMBER(is_kept), "do not delete the container when it has exited"},
	{0, NULL},
};
static const struct option_table create_table = {.entries = create_entries};
static const struct option_table run_table = {.entries = run_entries};

static int prepare(const struct global_options *globals, struct create_options *options, const struct option_rest *rest,
		   struct error *err)
{
	options->launch.root = globals->root;
	options->launch.id = rest->positional[0];
	options->launch.has_cgroups = globals->has_cgroups;
	options->launch.uses_systemd = globals->uses_systemd;
	return process_keep_fds(options->launch.preserved_fds, &options->launch.listen_fds, err);
}

static int create(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	struct create_options *self = options;
	struct launched launched;

	if (prepare(globals, self, rest, err) < 0)
		return err->code;
	self->launch.is_detached = true;
	if (launch_container(&self->launch, &launched, err) < 0)
		return err->code;
	command_warn_of_capabilities(globals, launched.spec.process);
	launched_deinit(&launched);
	return 0;
}

/* Init's last words before its exec: nothing at all when it succeeds. */
static int await_exec(const struct launched *launched, struct error *err)
{
	struct message message = {0};
	int r = sync_receive(launched->sync_fd, &message, NULL, NULL, err);

	if (r == 0)
		return fail_because(err, EPROTO, "the container's init sent an unexpected message");
	return r < 0 ? r : 0;
}

/* While it ran, others could delete it and even make another one with its name. */
static void destroy(const struct global_options *globals, struct launched *launched)
{
	const struct container_state *ours = &launched->container.state;
	struct container found;
	struct error problem;
	int r = container_open(&found, globals->root, launched->container.id, true, &problem);

	if (r == -ENOENT)
		return;
	if (r == 0 && found.state.pid.value == ours->pid.value && found.state.start_time.value == ours->start_time.value)
		r = launch_destroy(&found, &launched->spec.hooks.poststop, &problem);
	if (r < 0)
		command_warn(globals, "delete container '%s': %s", launched->container.id, problem.message);
	container_close(&found);
}

static int follow(const struct global_options *globals, const struct create_options *self, struct launched *launched,
		  struct error *err)
{
	int status = 0;

	/* other commands may work on it from here on */
	close(take_fd(&launched->container.dir_fd));
	if (await_exec(launched, err) < 0)
		return err->code;
	if (hooks_run(&launched->spec.hooks.poststart, "poststart", &launched->container.state, CONTAINER_RUNNING, err) < 0)
		return err->code;
	if (self->launch.is_detached)
		return launched->notify_fd >= 0 ? notify_socket_await(launched->notify_fd, launched->pid, err) : 0;
	if (foreground_attend(launched->pid, launched->terminal_fd, launched->notify_fd, &status, err) < 0)
		return err->code;
	if (!self->is_kept)
		destroy(globals, launched);
	return status;
}

static int run(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	struct create_options *self = options;
	struct launched launched;
	int r;

	if (prepare(globals, self, rest, err) < 0)
		return err->code;
	self->launch.starts_at_once = true;
	if (!self->launch.is_detached)
		foreground_begin();
	if (launch_container(&self->launch, &launched, err) < 0)
		return err->code;
	command_warn_of_capabilities(globals, launched.spec.process);
	r = follow(globals, self, &launched, err);
	if (r < 0) {
		(void) kill(launched.pid, SIGKILL);
		(void) waitpid(launched.pid, NULL, 0);
		destroy(globals, &launched);
	}
	launched_deinit(&launched);
	return r;
}

const struct command command_create = {
	.name = "create",
	.arguments = "[options] ID",
	.summary = "make a container that waits for its start",
	.options = &create_table,
	.options_size = sizeof(struct create_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.runs_container_code = true,
	.run = create,
};

const struct command command_run = {
	.name = "run",
	.arguments = "[options] ID",
	.summary = "make a container, start it and wait for its end",
	.options = &run_table,
	.options_size = sizeof(struct create_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.runs_container_code = true,
	.run = run,
};
