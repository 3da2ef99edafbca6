/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running hooks, each with exactly stdin, stdout and stderr.
 */
#include "runtime/hooks.h"

#include "base/child.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int open_input(const char *text, int *ret_fd, struct error *err)
{
	auto_close int fd = memfd_create("state", MFD_CLOEXEC);

	if (fd < 0 || fd_write_full(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return fail_errno(err, errno, "prepare the state for hooks");
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Returns 1 when it takes longer than the hook may. */
static int await(int pidfd, const struct spec_hook *hook)
{
	struct pollfd event = {.fd = pidfd, .events = POLLIN};
	int64_t limit_s = hook->timeout_s.is_set && hook->timeout_s.value < 2000000 ? hook->timeout_s.value : -1;
	int r;

	do
		r = poll(&event, 1, limit_s > 0 ? (int) (limit_s * 1000) : -1);
	while (r < 0 && errno == EINTR);
	return r == 0;
}

/* A shell, too, has such a status when what it ran was killed. */
static int say_status(const struct spec_hook *hook, int status, struct error *err)
{
	const char *name = status > 128 ? sigdescr_np(status - 128) : NULL;

	if (name == NULL)
		return fail_because(err, EIO, "'%s': exit status %d", hook->path, status);
	return fail_because(err, EIO, "'%s': exit status %d, signal: %c%s", hook->path, status, tolower((unsigned char) name[0]), name + 1);
}

static int run_hook(const struct spec_hook *hook, const char *state_json, struct error *err)
{
	static const char *const no_environment[] = {NULL};
	const char *const default_args[] = {hook->path, NULL};
	auto_close int input_fd = FD_NONE;
	auto_close int pidfd = FD_NONE;
	struct child_spec child = {.path = hook->path};
	bool is_late;
	pid_t pid;
	int status = 0;

	if (open_input(state_json, &input_fd, err) < 0)
		return err->code;
	child.argv = hook->args.count > 0 ? hook->args.items : default_args;
	child.envp = hook->env.count > 0 ? hook->env.items : no_environment;
	child.fds[0] = (struct child_fd){input_fd, 0};
	child.fds[1] = (struct child_fd){1, 1};
	child.fds[2] = (struct child_fd){2, 2};
	child.fd_count = 3;
	if (child_start(&child, &pid, &pidfd, err) < 0)
		return err->code;
	is_late = await(pidfd, hook) > 0;
	if (is_late)
		(void) kernel_pidfd_send_signal(pidfd, SIGKILL);
	if (child_wait(pid, &status, err) < 0)
		return err->code;
	if (is_late)
		return fail_because(err, ETIMEDOUT, "'%s' took longer than %lld s", hook->path, (long long) hook->timeout_s.value);
	return status == 0 ? 0 : say_status(hook, status, err);
}

int hooks_run(const spec_hook_list *hooks, const char *kind, const struct container_state *state,
	      enum container_status status, struct error *err)
{
	bool goes_on = strcmp(kind, "poststop") == 0;
	auto_free char *json = NULL;
	int r = 0;

	if (hooks->count == 0)
		return 0;
	json = container_state_json(state, status, false);
	for (size_t i = 0; i < hooks->count && (r == 0 || goes_on); i++) {
		struct error later = ERROR_NONE;
		struct error *problem = r == 0 ? err : &later;

		if (run_hook(&hooks->items[i], json, problem) < 0)
			r = fail_while(problem, "error running %s hook #%zu", kind, i);
	}
	return r < 0 ? err->code : 0;
}
