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

static int status_of(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

void task_reap_all(struct shim *shim)
{
	struct task **link = &shim->tasks;

	while (*link != NULL) {
		struct task *task = *link;
		int wait_status;

		if (waitpid(task->pid, &wait_status, WNOHANG) != task->pid) {
			link = &task->next;
			continue;
		}
		*link = task->next;
		task->done(shim, status_of(wait_status), task->context);
		free(task);
		link = &shim->tasks; /* what was done may have started others */
	}
}

bool task_owns(const struct shim *shim, pid_t pid)
{
	for (const struct task *task = shim->tasks; task != NULL; task = task->next) {
		if (task->pid == pid)
			return true;
	}
	return false;
}
