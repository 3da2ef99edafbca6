/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a further process in a running container.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/containerd.h"
#include "shim/health.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int container_exec_started(struct process *process, pid_t pid, struct error *err)
{
	struct container *self = process->container;
	int r;

	process->is_being_made = process->is_added = false;
	r = process_follow(process, pid, err);
	if (r < 0)
		return r;
	process->has_started = true;
	process->started_ns = clock_realtime_ns();
	r = container_list_execs(self, err);
	if (r == 0)
		r = container_save(self, err);
	if (!health_is_check(process))
		container_note(self, "exec-started", process, process->stdio_names[0] != NULL ? CONTAINERD_DETAIL : NULL);
	return r;
}

static int made(struct process *process, int exit_status, struct error *err)
{
	struct container *self = process->container;
	char name[96];
	pid_t pid;
	int r;

	process->is_being_made = false;
	if (exit_status != 0)
		return runtime_failure(self, "exec", exit_status, err);
	(void) text_fit(name, sizeof(name), "%s.pid", process->exec_id);
	fault_point("shim.exec-made");
	r = container_read_pid(self, name, &pid, err);
	if (r == 0)
		r = container_exec_started(process, pid, err);
	(void) unlinkat(self->dir.fd, name, 0);
	return r;
}

/* A process that came to nothing. It may have been the last that the end of the shim waited for. */
static void give_up(struct shim *shim, struct process *process)
{
	struct error ignored;

	(void) container_forget_exec(process, &ignored);
	shim_consider_end(shim);
}

static void exec_done(struct shim *shim, int exit_status, void *context)
{
	struct process *process = context;
	struct container *self = process->container;
	struct error err = ERROR_NONE;
	char name[96];

	(void) text_fit(name, sizeof(name), "%s.json", process->exec_id);
	(void) unlinkat(self->dir.fd, name, 0);
	(void) made(process, exit_status, &err);
	container_finish(self, &err);
	if (err.code < 0)
		give_up(shim, process);
}

static int begin_exec(struct process *process, const uint8_t *process_json, size_t size, struct error *err)
{
	struct container *self = process->container;
	auto_free char *json_path = text_format("%s/%s.json", self->dir.path, process->exec_id);
	auto_free char *pid_path = text_format("%s/%s.pid", self->dir.path, process->exec_id);
	auto_free char *console_path = run_dir_path(&self->dir, "console.sock");
	const char *plain[] = {"--process", json_path, "--detach", "--pid-file", pid_path, self->dir.id, NULL};
	const char *terminal[] = {"--process",        json_path,    "--detach",   "--pid-file", pid_path,
				  "--console-socket", console_path, self->dir.id, NULL};
	struct child_fd fds[3];
	int r = 0;

	if (self->record->state != HYDRA__V1__CONTAINER_STATE__STATE_RUNNING)
		return fail_because(err, EBUSY, "exec in container '%s': it is %s", self->dir.id,
				    state_name(self->record->state));
	if (process_json != NULL)
		r = file_replace_fast(AT_FDCWD, json_path, process_json, size, 0600, err);
	process->is_being_made = true;
	if (r == 0)
		r = container_list_execs(self, err);
	if (r == 0)
		r = container_save(self, err);
	if (r == 0)
		r = process_open_stdio(process, err);
	if (r < 0)
		return r;
	fault_point("shim.before-exec");
	for (int i = 0; i < 3; i++)
		fds[i] = (struct child_fd){process->child_ends[i], i};
	return runtime_start(self, "exec", process->is_terminal ? terminal : plain, fds, 3, exec_done, process, err);
}

void container_exec(struct process *process, const uint8_t *process_json, size_t size, container_then *then, void *context)
{
	struct shim *shim = process->container->shim;
	struct error err = ERROR_NONE;

	if (!container_begin(process->container, "exec", then, context)) {
		give_up(shim, process);
		return;
	}
	if (begin_exec(process, process_json, size, &err) < 0) {
		container_finish(process->container, &err);
		give_up(shim, process);
	}
}
