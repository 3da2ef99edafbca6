/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds things that can't be moved: each argument is the name of one. Prints READY with what could be had.
 */
#include <fcntl.h>
#include <linux/if_alg.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static bool have_io_uring(void)
{
	struct io_uring_params parameters = {.flags = 0};

	return syscall(SYS_io_uring_setup, 4, &parameters) >= 0;
}

static bool have_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY) >= 0;
}

static bool have_counter(void)
{
	struct perf_event_attr attributes = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(attributes), .config = PERF_COUNT_SW_DUMMY,
					     .exclude_kernel = 1};

	return syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0) >= 0;
}

static bool have_crypto(void)
{
	return socket(AF_ALG, SOCK_SEQPACKET, 0) >= 0;
}

/* A listener of somebody outside, in a folder that is mounted. */
static bool have_outside(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/data/outside.sock"};

	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *) &address, sizeof(address)) == 0;
}

static bool have_tracer(void)
{
	pid_t child = fork();

	if (child == 0) {
		(void) pause();
		_exit(0);
	}
	return ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0;
}

static const struct {
	const char *name;
	bool (*have)(void);
} obstacles[] = {
	{"io_uring", have_io_uring},
	{"userfaultfd", have_userfaultfd},
	{"counter", have_counter},
	{"crypto", have_crypto},
	{"outside", have_outside},
	{"tracer", have_tracer},
};

static void note(char *had, size_t size, const char *name)
{
	(void) strlcat(had, " ", size);
	(void) strlcat(had, name, size);
}

int main(int argc, char **argv)
{
	char had[256] = "READY";

	for (int i = 1; i < argc; i++) {
		for (size_t at = 0; at < sizeof(obstacles) / sizeof(obstacles[0]); at++) {
			if (strcmp(argv[i], obstacles[at].name) == 0 && obstacles[at].have())
				note(had, sizeof(had), argv[i]);
		}
	}
	printf("%s\n", had);
	(void) fflush(stdout);
	for (;;)
		(void) pause();
}
