/* SPDX-License-Identifier: Apache-2.0 */
#include "state/shim_process.h"

#include "base/child.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor.pb-c.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "state/cgroup_place.h"

#include <errno.h>
#include <fcntl.h>

#define MONITOR_TIMEOUT_MS 10000

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

/* -ENOENT or -ECONNREFUSED: no monitor runs here. */
static int spawn_by_monitor(const char *root, const char *namespace, const char *id, struct error *err)
{
	auto_free char *path = text_format("%s/monitor.sock", root);
	auto_close int fd = FD_NONE;
	auto_message ProtobufCMessage *response = NULL;
	Hydra__V1__SpawnRequest request = HYDRA__V1__SPAWN_REQUEST__INIT;
	int r = socket_connect(path, &fd, err);

	if (r < 0)
		return r;
	request.namespace_ = (char *) (uintptr_t) namespace;
	request.id = (char *) (uintptr_t) id;
	r = ttrpc_call_blocking(fd, "hydra.v1.Monitor", "Spawn", &request.base, &hydra__v1__spawn_response__descriptor,
				MONITOR_TIMEOUT_MS, &response, err);
	return r < 0 ? fail_while(err, "ask the monitor for a shim") : 0;
}

int shim_process_launch(const char *root, const char *namespace, const char *id, struct error *err)
{
	pid_t pid;
	int r = spawn_by_monitor(root, namespace, id, err);

	/* a monitor that dies or hangs in this very moment keeps nobody from working */
	if (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT)
		r = shim_process_start(root, namespace, id, &pid, NULL, err);
	/* asked twice: the first one made it */
	return r == -EADDRINUSE ? 0 : r;
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
