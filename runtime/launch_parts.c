/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of a launch that `exec` has in common with `create`, and the undoing of one.
 */
#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/container_json.h"
#include "runtime/hooks.h"
#include "runtime/launch.h"
#include "runtime/resctrl.h"
#include "runtime/seccomp_cache.h"
#include "runtime/seccomp_filter.h"
#include "runtime/sync.h"
#include "runtime/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static int program_file(const struct seccomp_filter *filter, int *ret_fd, struct error *err)
{
	auto_close int fd = memfd_create("seccomp", MFD_CLOEXEC);

	if (fd < 0 || fd_write_full(fd, filter->instructions, filter->count * sizeof(*filter->instructions)) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return fail_errno(err, errno, "pass on the seccomp filter");
	*ret_fd = take_fd(&fd);
	return 0;
}

int launch_send_seccomp(int sync_fd, const struct spec_seccomp *seccomp, struct error *err)
{
	struct seccomp_filter filter = {0};
	auto_close int fd = FD_NONE;
	int r;

	if (seccomp == NULL)
		return sync_send(sync_fd, MESSAGE_SECCOMP, 0, NULL, 0, err);
	r = seccomp_cache_get(seccomp, &filter, err);
	if (r == 0)
		r = program_file(&filter, &fd, err);
	if (r == 0)
		r = sync_send(sync_fd, MESSAGE_SECCOMP, (int) filter.flags, &fd, 1, err);
	seccomp_filter_deinit(&filter);
	return r;
}

/* The ContainerProcessState of the specification. */
static char *process_state_json(const struct spec *spec, const struct container_state *state, enum container_status status,
				pid_t pid)
{
	const char *metadata = spec->linux_part.seccomp->listener_metadata;
	auto_json *json = json_object_new_object();

	json_add_string(json, "ociVersion", state->oci_version);
	json_add_string(json_add_array(json, "fds"), NULL, "seccompFd");
	json_add_int(json, "pid", pid);
	if (metadata != NULL)
		json_add_string(json, "metadata", metadata);
	container_state_add(json_add_object(json, "state"), state, status);
	return json_text(json, false);
}

int launch_forward_listener(const struct spec *spec, const struct container_state *state, enum container_status status,
			    pid_t pid, int listener_fd, struct error *err)
{
	auto_close int socket_fd = FD_NONE;
	auto_free char *json = NULL;
	ssize_t sent;

	if (socket_connect(spec->linux_part.seccomp->listener_path, &socket_fd, err) < 0)
		return fail_while(err, "linux.seccomp.listenerPath: failed to connect with seccomp agent");
	json = process_state_json(spec, state, status, pid);
	sent = fd_pass_send(socket_fd, json, strlen(json), &listener_fd, 1);
	return sent < 0 ? fail_errno(err, (int) -sent, "send the seccomp listener") : 0;
}

/* Readers take the whole file for the number: no newline, and never half of it. */
int launch_write_pid_file(const char *path, pid_t pid, struct error *err)
{
	char text[16];

	if (path == NULL)
		return 0;
	(void) text_fit(text, sizeof(text), "%d", pid);
	return file_replace_fast(AT_FDCWD, path, text, strlen(text), 0644, err);
}

int launch_send_pidfd(const char *socket_path, pid_t pid, const char *kind, struct error *err)
{
	auto_close int socket_fd = FD_NONE;
	auto_close int pidfd = FD_NONE;
	ssize_t sent;

	if (socket_path == NULL)
		return 0;
	pidfd = kernel_pidfd_open(pid, 0);
	if (pidfd < 0)
		return fail_errno(err, errno, "open a pidfd");
	if (socket_connect(socket_path, &socket_fd, err) < 0)
		return err->code;
	sent = fd_pass_send(socket_fd, kind, strlen(kind), &pidfd, 1);
	return sent < 0 ? fail_errno(err, (int) -sent, "send the pidfd") : 0;
}

int launch_destroy(struct container *container, const spec_hook_list *poststop, struct error *err)
{
	const struct container_state *state = &container->state;
	struct cgroup cgroup = {.count = 0};

	/* without cgroups there is nothing to kill but init, which the caller has done */
	if (state->cgroup_path != NULL && state->cgroup_path[0] != '\0') {
		if (cgroup_init(&cgroup, state->cgroup_path, err) < 0 || cgroup_kill(&cgroup, err) < 0)
			return err->code;
	}
	if (state->systemd_unit != NULL && state->systemd_unit[0] != '\0' && systemd_stop(state->systemd_unit, container->dir, err) < 0)
		return err->code;
	fault_point("delete-unit-stopped");
	if (cgroup_remove(&cgroup, err) < 0 || resctrl_remove(state->resctrl_folder, err) < 0)
		return err->code;
	fault_point("delete-cgroups-removed");
	if (poststop != NULL) {
		struct error ignored;

		/* the container is gone already; the specification wants a failing hook to change nothing */
		(void) hooks_run(poststop, "poststop", state, CONTAINER_STOPPED, &ignored);
	}
	return container_forget(container, err);
}
