/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra start.
 */
#include "base/kernel.h"
#include "base/owned.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/hooks.h"
#include "runtime/members.h"
#include "runtime/notify_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define COMPLAINT_SIZE 480

/* Until exec (end of file) or init's complaint about why it cannot. */
static int await_exec(int reply_fd, struct error *err)
{
	struct pollfd event = {.fd = reply_fd, .events = POLLIN};
	char complaint[COMPLAINT_SIZE];
	ssize_t size;

	while (poll(&event, 1, -1) < 0)
		if (errno != EINTR)
			return fail_errno(err, errno, "wait for the container to start");
	size = read(reply_fd, complaint, sizeof(complaint) - 1);
	if (size <= 0)
		return 0;
	complaint[size] = '\0';
	return fail_because(err, EIO, "%s", complaint);
}

/* The reading end is opened first: init, which holds the other one, cannot slip away between the two steps. */
static int release(const struct container *container, struct error *err)
{
	auto_close int reply_fd = openat(container->dir_fd, CONTAINER_REPLY_PIPE, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	auto_close int start_fd = openat(container->dir_fd, CONTAINER_START_PIPE, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (start_fd < 0 && errno == ENXIO)
		return fail_because(err, ESRCH, "container not running: its init is gone");
	if (reply_fd < 0 || start_fd < 0)
		return fail_errno(err, errno, "open the pipes of container '%s'", container->id);
	if (unlinkat(container->dir_fd, CONTAINER_START_PIPE, 0) < 0)
		return fail_errno(err, errno, "remove " CONTAINER_START_PIPE);
	if (write(start_fd, "1", 1) != 1)
		return fail_errno(err, errno, "start container '%s'", container->id);
	return await_exec(reply_fd, err);
}

static int run_hooks(const struct container *container, struct error *err)
{
	struct error ignored;
	struct spec spec;
	int r;

	if (!container_may_have_late_hooks(container) || container_load_spec(container, &spec, &ignored) < 0)
		return 0;
	r = hooks_run(&spec.hooks.poststart, "poststart", &container->state, CONTAINER_RUNNING, err);
	/* as the specification has it since 1.2.1: an error, and the end of the container */
	if (r < 0)
		(void) members_signal(container, SIGKILL, &ignored);
	spec_deinit(&spec);
	return r;
}

static int start_created(const struct container *container, int *ret_notify_fd, struct error *err)
{
	enum container_status status = container_status(container);

	if (status != CONTAINER_CREATED)
		return fail_because(err, EINVAL, "cannot start a container in the %s state%s", container_status_name(status),
				    status == CONTAINER_STOPPED ? ": container not running" : "");
	if (notify_socket_open(container, ret_notify_fd, err) < 0 || release(container, err) < 0)
		return err->code;
	return run_hooks(container, err);
}

static int start(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	struct container container;
	auto_close int notify_fd = FD_NONE;
	pid_t init;
	int r;

	(void) options;
	if (container_open(&container, globals->root, rest->positional[0], true, err) < 0)
		return err->code;
	init = (pid_t) container.state.pid.value;
	r = start_created(&container, &notify_fd, err);
	/* other commands may work on it from here on */
	container_close(&container);
	return r == 0 && notify_fd >= 0 ? notify_socket_await(notify_fd, init, err) : r;
}

const struct command command_start = {
	.name = "start",
	.arguments = "ID",
	.summary = "start the program of a created container",
	.options = &command_no_options,
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = start,
};
