/* SPDX-License-Identifier: Apache-2.0 */
#include "base/notify.h"

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3
#define FDS_MAX  (1 << 20)

bool notify_is_heard(void)
{
	return getenv("NOTIFY_SOCKET") != NULL;
}

/* A socket for each message: the manager may have begun anew since the last one. */
static int send_lines(const char *lines, int fd, int socket_flags)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close int socket_fd = FD_NONE;
	ssize_t sent;

	if (path == NULL || strlen(path) >= sizeof(address.sun_path))
		return 0;
	memcpy(address.sun_path, path, strlen(path));
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | socket_flags, 0);
	if (socket_fd < 0 || connect(socket_fd, (struct sockaddr *) &address,
				     (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
		return -errno;
	sent = fd_pass_send(socket_fd, lines, strlen(lines), &fd, fd >= 0 ? 1 : 0);
	return sent < 0 ? (int) sent : 0;
}

void notify(const char *lines)
{
	(void) send_lines(lines, FD_NONE, 0);
}

int notify_now(const char *lines, int fd)
{
	return send_lines(lines, fd, SOCK_NONBLOCK);
}

void notify_reloading(void)
{
	char lines[64];

	(void) text_fit(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%llu",
			(unsigned long long) (clock_monotonic_ns() / NS_PER_US));
	notify(lines);
}

static uint64_t number_of(const char *variable)
{
	const char *text = getenv(variable);
	uint64_t value;

	return text != NULL && number_parse_u64(text, &value) == 0 ? value : 0;
}

/* Whether the variables of this name are meant for us, and not for who started us. */
static bool is_for_us(const char *pid_variable)
{
	return number_of(pid_variable) == (uint64_t) getpid();
}

void notify_take_fds(notify_visitor *visit, void *context)
{
	static const char *const variables[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", NULL};
	uint64_t count = is_for_us("LISTEN_PID") ? number_of("LISTEN_FDS") : 0;
	const char *given = getenv("LISTEN_FDNAMES");
	auto_free char *names = text_copy(given != NULL ? given : "");
	char *rest = names;

	for (size_t i = 0; variables[i] != NULL; i++)
		(void) unsetenv(variables[i]);
	for (int fd = FIRST_FD; count > 0 && count <= FDS_MAX; fd++, count--) {
		const char *name = strsep(&rest, ":");

		(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
		visit(fd, name != NULL ? name : "", context);
	}
}

static void ping(struct event_timer *timer)
{
	struct watchdog *self = timer->context;

	(void) notify_now("WATCHDOG=1", FD_NONE);
	event_loop_arm(self->loop, timer, self->interval_ns);
}

void watchdog_begin(struct watchdog *self, struct event_loop *loop)
{
	*self = (struct watchdog){.loop = loop, .timer = {.handle = ping, .context = self}};
	self->interval_ns = number_of("WATCHDOG_USEC") * NS_PER_US / 2;
	if (self->interval_ns == 0 || (getenv("WATCHDOG_PID") != NULL && !is_for_us("WATCHDOG_PID")))
		return;
	ping(&self->timer);
}
