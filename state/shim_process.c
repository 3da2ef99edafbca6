/* SPDX-License-Identifier: Apache-2.0 */
#include "state/shim_process.h"

#include "base/child.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>

int shim_process_start(const char *root, const char *namespace, const char *id, bool adopt, pid_t *ret_pid, int *ret_pidfd,
		       struct error *err)
{
	auto_free char *program = child_program("hydra-shim");
	auto_free char *socket_path = text_format("%s/%s/%s/shim.sock", root, namespace, id);
	auto_free char *log_path = text_format("%s/%s/%s/shim.log", root, namespace, id);
	auto_close int listen_fd = FD_NONE;
	auto_close int log_fd = FD_NONE;
	const char *argv[] = {"hydra-shim", "--root", root, "--namespace", namespace, "--id", id, adopt ? "--adopt" : NULL, NULL};
	struct child_spec spec = {.path = program, .argv = argv, .cwd = "/", .new_session = true};
	int r = socket_listen(socket_path, &listen_fd, err);

	if (r < 0)
		return fail_while(err, "start the shim of '%s'", id);
	log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		return fail_errno(err, errno, "start the shim of '%s': open '%s'", id, log_path);
	spec.fds[spec.fd_count++] = (struct child_fd){log_fd, STDERR_FILENO};
	spec.fds[spec.fd_count++] = (struct child_fd){listen_fd, 3};
	return child_start(&spec, ret_pid, ret_pidfd, err);
}

int shim_process_connect_now(const char *root, const char *namespace, const char *id, int *ret_fd, struct error *err)
{
	auto_free char *socket_path = text_format("%s/%s/%s/shim.sock", root, namespace, id);

	return socket_connect_now(socket_path, ret_fd, err);
}

int shim_process_connect(const char *root, const char *namespace, const char *id, int *ret_fd, struct error *err)
{
	auto_free char *socket_path = text_format("%s/%s/%s/shim.sock", root, namespace, id);

	return socket_connect(socket_path, ret_fd, err);
}
