/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"

#include "base/descriptor_limit.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child tells about its failure through the pipe that exec closes. */
struct child_failure {
	int errno_value;
	char action[64];
};

static void child_fail(int report_fd, const char *action)
{
	struct child_failure failure = {.errno_value = errno};

	(void) snprintf(failure.action, sizeof(failure.action), "%s", action);
	(void) fd_write_full(report_fd, &failure, sizeof(failure));
	_exit(127);
}

static bool is_wanted(const struct child_spec *spec, int report_fd, int fd)
{
	if (fd == report_fd)
		return true;
	for (size_t i = 0; i < spec->fd_count; i++) {
		if (spec->fds[i].fd == fd)
			return true;
	}
	return false;
}

/* Its parent may have used up what a process may have: then there would be no room to arrange anything. */
static void close_unwanted(const struct child_spec *spec, int report_fd)
{
	int highest = report_fd, from = 3;

	for (size_t i = 0; i < spec->fd_count; i++)
		highest = spec->fds[i].fd > highest ? spec->fds[i].fd : highest;
	for (int fd = 3; fd <= highest; fd++) {
		if (!is_wanted(spec, report_fd, fd))
			continue;
		if (fd > from)
			(void) kernel_close_range((unsigned) from, (unsigned) fd - 1, 0);
		from = fd + 1;
	}
	(void) kernel_close_range((unsigned) from, ~0U, 0);
}

/* First out of the way of every wanted number, then onto it. */
static int place_fds(const struct child_spec *spec, int *report_fd)
{
	int high = 64;
	int moved[CHILD_FDS_MAX];

	for (size_t i = 0; i < spec->fd_count; i++) {
		if (spec->fds[i].number >= high)
			high = spec->fds[i].number + 1;
	}
	close_unwanted(spec, *report_fd);
	*report_fd = fcntl(*report_fd, F_DUPFD_CLOEXEC, high);
	if (*report_fd < 0)
		return -1;
	for (size_t i = 0; i < spec->fd_count; i++) {
		moved[i] = fcntl(spec->fds[i].fd, F_DUPFD_CLOEXEC, high);
		if (moved[i] < 0)
			return -1;
	}
	for (int number = 0; number < 3; number++) {
		int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (null_fd < 0 || (null_fd != number && dup2(null_fd, number) < 0))
			return -1;
		if (null_fd == number)
			(void) fcntl(null_fd, F_SETFD, 0);
	}
	if (kernel_close_range(3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) < 0)
		return -1;
	for (size_t i = 0; i < spec->fd_count; i++) {
		if (dup2(moved[i], spec->fds[i].number) < 0)
			return -1;
	}
	return 0;
}

static int enter_cgroups(const char *const *dirs)
{
	char path[4096];

	for (; dirs != NULL && *dirs != NULL; dirs++) {
		struct error ignored;

		if (!text_fit(path, sizeof(path), "%s/cgroup.procs", *dirs) ||
		    file_set(AT_FDCWD, path, "0", &ignored) < 0)
			return -1;
	}
	return 0;
}

static void reset_signals(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void) sigaction(number, &standard, NULL);
	(void) sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_run(const struct child_spec *spec, int report_fd)
{
	if (enter_cgroups(spec->cgroup_dirs) < 0)
		child_fail(report_fd, "enter the cgroup");
	if (spec->net_namespace_fd > 0 && setns(spec->net_namespace_fd, CLONE_NEWNET) < 0)
		child_fail(report_fd, "join the network namespace");
	if (spec->pid_namespace_fd > 0 && setns(spec->pid_namespace_fd, CLONE_NEWPID) < 0)
		child_fail(report_fd, "join the pid namespace");
	if (spec->cwd != NULL && chdir(spec->cwd) < 0)
		child_fail(report_fd, "change to the working folder");
	if (spec->new_session)
		(void) setsid();
	if (place_fds(spec, &report_fd) < 0)
		child_fail(report_fd, "arrange descriptors");
	reset_signals();
	descriptor_limit_restore();
	if (spec->death_signal != 0)
		(void) prctl(PR_SET_PDEATHSIG, spec->death_signal);
	(void) execve(spec->path, (char *const *) (uintptr_t) spec->argv,
		      spec->envp != NULL ? (char *const *) (uintptr_t) spec->envp : environ);
	child_fail(report_fd, "execute it");
}

static int read_report(int report_fd, const char *path, struct error *err)
{
	struct child_failure failure;
	int r = fd_read_full(report_fd, &failure, sizeof(failure));

	if (r < 0)
		return 0; /* closed by exec */
	failure.action[sizeof(failure.action) - 1] = '\0';
	return fail_errno(err, failure.errno_value > 0 ? failure.errno_value : EIO, "start '%s': %s", path,
			  failure.action);
}

int child_start(const struct child_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
	auto_close int report_read = FD_NONE;
	auto_close int report_write = FD_NONE;
	auto_close int pidfd = FD_NONE;
	int report[2];
	pid_t pid;
	int r;

	if (pipe2(report, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	report_read = report[0];
	report_write = report[1];

	pid = kernel_clone3(CLONE_PIDFD, &pidfd, FD_NONE);
	if (pid < 0)
		return fail_errno(err, errno, "start '%s'", spec->path);
	if (pid == 0)
		child_run(spec, report_write);
	(void) close(take_fd(&report_write));
	r = read_report(report_read, spec->path, err);
	if (r < 0) {
		(void) waitpid(pid, NULL, 0);
		return r;
	}
	*ret_pid = pid;
	if (ret_pidfd != NULL)
		*ret_pidfd = take_fd(&pidfd);
	return 0;
}

int child_wait(pid_t pid, int *ret_status, struct error *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return fail_errno(err, errno, "wait for process %d", (int) pid);
	}
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

/* hydra-shim -> HYDRA_SHIM */
static char *program_from_environment(const char *name)
{
	char variable[64];
	size_t i;

	for (i = 0; name[i] != '\0' && i + 1 < sizeof(variable); i++)
		variable[i] = name[i] == '-' ? '_' : (char) toupper((unsigned char) name[i]);
	variable[i] = '\0';

	const char *path = getenv(variable);

	return path != NULL && path[0] != '\0' ? text_copy(path) : NULL;
}

/* Where a program's siblings are, seen from its own folder: installed side by side or below libexec, or in a build tree. */
static const char *const sibling_folders[] = {"", "../bin/", "../libexec/hydra/", "../../bin/", "../runtime/", "../shim/", "../setup/",
					      "../checkpoint/", "../monitor/", "../daemon/", "../cli/"};

static bool is_program(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

char *child_program(const char *name)
{
	char self[4096];
	char *found = program_from_environment(name);
	ssize_t size;

	if (found != NULL)
		return found;
	size = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[size > 0 ? size : 0] = '\0';

	char *slash = strrchr(self, '/');

	if (slash != NULL)
		slash[1] = '\0';
	for (size_t i = 0; i < sizeof(sibling_folders) / sizeof(sibling_folders[0]); i++) {
		found = text_format("%s%s%s", self, sibling_folders[i], name);
		if (is_program(found))
			return found;
		free(found);
	}
	return text_format("/usr/libexec/hydra/%s", name);
}

int child_output(const struct child_spec *spec, int number, size_t limit, char **ret_output, int *ret_status, struct error *err)
{
	struct child_spec whole = *spec;
	auto_close int out = FD_NONE;
	int ends[2];
	pid_t pid;
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	out = ends[0];
	whole.fds[whole.fd_count++] = (struct child_fd){ends[1], number};
	r = child_start(&whole, &pid, NULL, err);
	(void) close(ends[1]);
	if (r < 0)
		return r;
	r = file_read_fd(out, spec->path, limit, ret_output, NULL, err);
	owned_fd_release(&out); /* one that has more to say must not wait for us */
	out = FD_NONE;
	return child_wait(pid, ret_status, r < 0 ? &(struct error){0} : err) < 0 && r == 0 ? err->code : r;
}
