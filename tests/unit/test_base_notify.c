/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd_pass.h"
#include "base/kernel.h"
#include "base/notify.h"
#include "base/owned.h"
#include "base/text.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A manager that hears at an abstract address, as containers' managers do. */
static int manager_open(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(sa_family_t); /* the kernel makes up a name */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char name[32];

	CHECK(bind(fd, (struct sockaddr *) &address, size) == 0);
	size = sizeof(address);
	CHECK(getsockname(fd, (struct sockaddr *) &address, &size) == 0);
	(void) text_fit(name, sizeof(name), "@%.*s", (int) (size - sizeof(sa_family_t) - 1), address.sun_path + 1);
	CHECK(setenv("NOTIFY_SOCKET", name, 1) == 0);
	return fd;
}

TEST(what_is_told_is_heard_with_its_descriptor)
{
	auto_close int manager_fd = manager_open();
	int fds[FD_PASS_MAX];
	char heard[64] = "";
	size_t count;

	CHECK(notify_is_heard());
	notify("READY=1");
	CHECK(fd_pass_receive(manager_fd, heard, sizeof(heard), fds, &count) == 7 && count == 0);
	CHECK(memcmp(heard, "READY=1", 7) == 0);
	CHECK(notify_now("FDSTORE=1", manager_fd) == 0);
	CHECK(fd_pass_receive(manager_fd, heard, sizeof(heard), fds, &count) == 9 && count == 1);
	CHECK(kernel_is_same_file(fds[0], manager_fd));
	(void) close(fds[0]);
	(void) unsetenv("NOTIFY_SOCKET");
}

TEST(a_manager_that_is_behind_is_not_waited_for)
{
	auto_close int manager_fd = manager_open();
	int r = 0;

	for (int i = 0; i < 100000 && r == 0; i++)
		r = notify_now("WATCHDOG=1", FD_NONE);
	CHECK(r == -EAGAIN);
	(void) unsetenv("NOTIFY_SOCKET");
}

TEST(without_a_manager_nothing_is_told_and_nothing_fails)
{
	CHECK(!notify_is_heard());
	notify("READY=1");
	CHECK(notify_now("READY=1", FD_NONE) == 0);
}

static void collect(int fd, const char *name, void *context)
{
	(void) fd;
	text_addf(context, "%s,", name);
}

static char *fds_of(const char *pid, const char *count, const char *names)
{
	auto_text found = TEXT_EMPTY;

	(void) setenv("LISTEN_PID", pid, 1);
	(void) setenv("LISTEN_FDS", count, 1);
	(void) (names != NULL ? setenv("LISTEN_FDNAMES", names, 1) : unsetenv("LISTEN_FDNAMES"));
	notify_take_fds(collect, &found);
	CHECK(getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL && getenv("LISTEN_FDNAMES") == NULL);
	return text_take(&found);
}

TEST(descriptors_are_taken_by_whom_they_are_meant_for)
{
	static const struct {
		const char *pid, *count, *names, *taken;
	} cases[] = {
		{NULL, "2", "a:b", "a,b,"}, {NULL, "3", "a", "a,,,"}, {NULL, "1", NULL, ","},   {NULL, "0", "a", ""},
		{NULL, "x", "a", ""},	    {"1", "2", "a:b", ""},    {"", "2", "a:b", ""}, {NULL, "4294967297", "a", ""},
	};
	char self[16];

	(void) text_fit(self, sizeof(self), "%d", (int) getpid());
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_free char *taken = fds_of(cases[i].pid != NULL ? cases[i].pid : self, cases[i].count, cases[i].names);

		CHECK(strcmp(taken, cases[i].taken) == 0);
	}
}

TEST(a_watchdog_nobody_asked_for_has_no_timer)
{
	static const char *const values[] = {NULL, "0", "x"};
	struct event_loop loop = {.epoll_fd = FD_NONE};
	struct watchdog watchdog;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		(void) (values[i] != NULL ? setenv("WATCHDOG_USEC", values[i], 1) : unsetenv("WATCHDOG_USEC"));
		watchdog_begin(&watchdog, &loop);
		CHECK(loop.timers == NULL);
	}
	(void) setenv("WATCHDOG_USEC", "30000000", 1);
	(void) setenv("WATCHDOG_PID", "1", 1); /* another's */
	watchdog_begin(&watchdog, &loop);
	CHECK(loop.timers == NULL);
	(void) unsetenv("WATCHDOG_PID");
	watchdog_begin(&watchdog, &loop);
	CHECK(loop.timers == &watchdog.timer && event_timer_rest(&watchdog.timer) > 14000000000ULL);
}
