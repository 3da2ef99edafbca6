/* SPDX-License-Identifier: Apache-2.0 */
#include "state/shim_process.h"

#include "base/child.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/cgroup_place.h"

#include <errno.h>
#include <fcntl.h>

static int start(const char *root, const char *namespace, const char *id, int listen_fd, const char *adopt, pid_t *ret_pid, int *ret_pidfd,
		 struct error *err)
{
	auto_free char *program = child_program("hydra-shim");
	auto_free char *log_path = text_format("%s/%s/%s/shim.log", root, namespace, id);
	auto_close int log_fd = FD_NONE;
	const char *argv[] = {"hydra-shim", "--root", root, "--namespace", namespace, "--id", id, adopt, NULL};
	struct supervisor_cgroups cgroups;
	struct child_spec spec = {.path = program, .argv = argv, .cwd = "/", .new_session = true, .cgroup_dirs = cgroups.list};

	log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		return fail_errno(err, errno, "start the shim of '%s': open '%s'", id, log_path);
	supervisor_cgroups_find(&cgroups);
	spec.fds[spec.fd_count++] = (struct child_fd){log_fd, STDERR_FILENO};
	spec.fds[spec.fd_count++] = (struct child_fd){listen_fd, 3};
	return child_start(&spec, ret_pid, ret_pidfd, err);
}

static int listen_anew(const char *root, const char *namespace, const char *id, int *ret_fd, struct error *err)
{
	auto_free char *socket_path = text_format("%s/%s/%s/shim.sock", root, namespace, id);
	int r = socket_listen(socket_path, ret_fd, err);

	return r < 0 ? fail_while(err, "start the shim of '%s'", id) : 0;
}

int shim_process_start(const char *root, const char *namespace, const char *id, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
	auto_close int listen_fd = FD_NONE;
	int r = listen_anew(root, namespace, id, &listen_fd, err);

	return r < 0 ? r : start(root, namespace, id, listen_fd, NULL, ret_pid, ret_pidfd, err);
}

int shim_process_succeed(const char *root, const char *namespace, const char *id, int listen_fd, pid_t *ret_pid, struct error *err)
{
	auto_close int made = FD_NONE;
	int r = listen_fd >= 0 ? 0 : listen_anew(root, namespace, id, &made, err);

	return r < 0 ? r : start(root, namespace, id, listen_fd >= 0 ? listen_fd : made, "--adopt", ret_pid, NULL, err);
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
