/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int run_shell(const char *script, int out_fd, int *ret_status, struct error *err)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	struct child_spec spec = {.path = "/bin/sh", .argv = argv, .fds = {{out_fd, 7}}, .fd_count = 1};
	pid_t pid;
	int r = child_start(&spec, &pid, NULL, err);

	return r < 0 ? r : child_wait(pid, ret_status, err);
}

TEST(a_child_has_exactly_the_descriptors_it_is_given)
{
	auto_free char *listing = NULL;
	struct error err;
	int ends[2];
	int status = 0;

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	CHECK(run_shell("exec ls /proc/self/fd >&7", ends[1], &status, &err) == 0);
	(void) close(ends[1]);
	CHECK(status == 0);
	CHECK(file_read_fd(ends[0], "pipe", 1000, &listing, NULL, &err) == 0);
	CHECK(strcmp(listing, "0\n1\n2\n3\n7\n" /* 3: the folder that ls lists */) == 0);
	(void) close(ends[0]);
}

TEST(a_program_that_cannot_be_executed_is_named)
{
	const char *argv[] = {"x", NULL};
	struct child_spec spec = {.path = "/nonexistent/x", .argv = argv};
	struct error err;
	pid_t pid;

	CHECK(child_start(&spec, &pid, NULL, &err) == -ENOENT);
	CHECK(strstr(err.message, "/nonexistent/x") != NULL);
}

TEST(a_signal_is_128_plus_its_number)
{
	struct error err;
	int status = 0;

	CHECK(run_shell("kill -9 $$", 2, &status, &err) == 0);
	CHECK(status == 137);
}

TEST(the_kernel_keeps_the_status_of_a_reaped_process)
{
	const char *argv[] = {"sh", "-c", "exit 9", NULL};
	struct child_spec spec = {.path = "/bin/sh", .argv = argv};
	auto_close int pidfd = FD_NONE;
	struct error err;
	pid_t pid;
	int status = 0;
	int r;

	CHECK(child_start(&spec, &pid, &pidfd, &err) == 0);
	CHECK(child_wait(pid, &status, &err) == 0);
	r = kernel_pidfd_exit_status(pidfd, &status);
	CHECK(r == -EOPNOTSUPP || r == -ENODATA || (r == 0 && WEXITSTATUS(status) == 9));
}

TEST(descriptors_travel_with_their_message)
{
	auto_close int received = FD_NONE;
	int pair[2], ends[2], fds[FD_PASS_MAX];
	size_t count = 0;
	char data[8] = "";

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && pipe2(ends, O_CLOEXEC) == 0);
	CHECK(fd_pass_send(pair[0], "hi", 2, &ends[1], 1) == 2);
	CHECK(fd_pass_receive(pair[1], data, sizeof(data), fds, &count) == 2 && count == 1);
	received = fds[0];
	CHECK((fcntl(received, F_GETFD) & FD_CLOEXEC) != 0);
	CHECK(write(received, "x", 1) == 1 && read(ends[0], data, 1) == 1);
	(void) close(pair[0]);
	CHECK(fd_pass_receive(pair[1], data, sizeof(data), fds, &count) == 0 && count == 0);
	(void) close(pair[1]);
	(void) close(ends[0]);
	(void) close(ends[1]);
}

TEST(a_socket_in_use_is_not_stolen_and_a_dead_one_is_replaced)
{
	char long_path[200] = "/tmp/hydra-";
	int first = FD_NONE, second = FD_NONE, client = FD_NONE;
	struct error err;

	memset(long_path + strlen(long_path), 'x', 130);
	CHECK(dir_make_all(long_path, 0700, &err) == 0);
	(void) snprintf(long_path + strlen(long_path), 10, "/s");
	CHECK(socket_listen(long_path, &first, &err) == 0);
	CHECK(socket_listen(long_path, &second, &err) == -EADDRINUSE);
	CHECK(socket_connect(long_path, &client, &err) == 0 && socket_peer_is_trusted(client));
	(void) close(first);
	CHECK(socket_listen(long_path, &second, &err) == 0);
	(void) close(second);
	(void) close(client);
	*strrchr(long_path, '/') = '\0';
	CHECK(dir_remove_all(AT_FDCWD, long_path, &err) == 0);
}
