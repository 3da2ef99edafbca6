/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/task.h"

#include "shim/shim.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

struct task {
	pid_t pid;
	task_done *done;
	void *context;
	struct task *next;
};

int task_start(struct shim *shim, const struct child_spec *spec, task_done *done, void *context, struct error *err)
{
	struct task *task = calloc(1, sizeof(*task));
	int r;

	if (task == NULL)
		return fail_errno(err, ENOMEM, "start '%s'", spec->path);
	r = child_start(spec, &task->pid, NULL, err);
	if (r < 0) {
		free(task);
		return r;
	}
	task->done = done;
	task->context = context;
	task->next = shim->tasks;
	shim->tasks = task;
	return 0;
}

bool task_is_running(const struct shim *shim)
{
	return shim->tasks != NULL;
}

bool tasks_check(struct shim *shim)
{
	for (struct task *task = shim->tasks; task != NULL; task = task->next) {
		siginfo_t info = {0};

		if (waitid(P_PID, (id_t) task->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == task->pid)
			return task_reap(shim, task->pid);
	}
	return false;
}

bool task_reap(struct shim *shim, pid_t pid)
{
	struct error ignored;
	int exit_status;

	for (struct task **link = &shim->tasks; *link != NULL; link = &(*link)->next) {
		struct task *task = *link;

		if (task->pid != pid)
			continue;
		if (child_wait(pid, &exit_status, &ignored) < 0)
			exit_status = 255;
		*link = task->next;
		task->done(shim, exit_status, task->context);
		free(task);
		return true;
	}
	return false;
}
