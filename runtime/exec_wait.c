/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/exec_wait.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

int exec_wait_open(struct exec_wait *self, const char *path, struct error *err)
{
	auto_close int both_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	auto_close int writer_fd = FD_NONE;
	auto_close int notify_fd = FD_NONE;
	struct stat status;

	if (both_fd < 0 || fstat(both_fd, &status) < 0)
		return fail_errno(err, errno, "option --exec-wait-fifo: failed to open exec wait fifo '%s'", path);
	if (!S_ISFIFO(status.st_mode))
		return fail_because(err, EINVAL, "option --exec-wait-fifo: '%s' is not a fifo", path);
	/* does not wait, for we are a reader ourselves as long as both_fd is open */
	writer_fd = open(path, O_WRONLY | O_CLOEXEC);
	notify_fd = inotify_init1(IN_CLOEXEC);
	if (writer_fd < 0 || notify_fd < 0 || inotify_add_watch(notify_fd, path, IN_OPEN) < 0)
		return fail_errno(err, errno, "option --exec-wait-fifo: watch '%s'", path);
	*self = (struct exec_wait){take_fd(&writer_fd), take_fd(&notify_fd)};
	return 0;
}

static bool has_reader(const struct exec_wait *self)
{
	struct pollfd event = {.fd = self->writer_fd};

	return poll(&event, 1, 0) >= 0 && (event.revents & POLLERR) == 0;
}

int exec_wait_for_reader(struct exec_wait *self, struct error *err)
{
	char events[4096];

	while (!has_reader(self))
		if (read(self->notify_fd, events, sizeof(events)) < 0 && errno != EINTR)
			return fail_errno(err, errno, "wait for a reader");
	exec_wait_close(self);
	return 0;
}

void exec_wait_close(struct exec_wait *self)
{
	if (self->writer_fd >= 0)
		close(take_fd(&self->writer_fd));
	if (self->notify_fd >= 0)
		close(take_fd(&self->notify_fd));
}
