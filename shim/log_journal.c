/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/log_journal.h"

#include "base/owned.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

static int connect_journal(struct log_journal *self)
{
	static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	auto_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
		return -errno;
	self->fd = take_fd(&fd);
	return 0;
}

int log_journal_send(struct log_journal *self, const uint8_t *message, size_t size)
{
	int r = self->fd < 0 ? connect_journal(self) : 0;

	if (r < 0)
		return r;
	if (send(self->fd, message, size, MSG_NOSIGNAL) == (ssize_t) size)
		return 0;
	r = -errno;
	if (r == -EAGAIN || r == -ENOBUFS)
		return -EAGAIN;
	/* a journal that was started anew has another socket */
	log_journal_close(self);
	return r;
}

void log_journal_close(struct log_journal *self)
{
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
}
