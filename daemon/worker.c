/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "state/cgroup_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_MAX 65536 /* the report of a preflight with everything in the way */
#define ARGUMENTS_MAX 60

struct worker {
	pid_t pid;
	int message_fd; /* a memfd: nobody has to read it for the worker to go on */
	worker_done *done;
	void *context;
	struct worker *next;
};

static int memory_file(const char *name, const void *data, size_t size, int *ret_fd, struct error *err)
{
	auto_close int fd = memfd_create(name, MFD_CLOEXEC);
	int r = fd < 0 ? -errno : fd_write_full(fd, data, size);

	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return fail_errno(err, r < 0 ? -r : errno, "prepare a worker");
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Takes worker when it succeeds. */
static int start(struct daemon *daemon, struct worker *worker, const char *program, const char *const *arguments,
		 const int *fds, struct error *err)
{
	auto_free char *path = child_program(program);
	const char *argv[ARGUMENTS_MAX + 2] = {program};
	struct supervisor_cgroups cgroups;
	struct child_spec spec = {.path = path, .argv = argv, .cwd = "/", .new_session = true, .cgroup_dirs = cgroups.list};
	int r;

	for (size_t i = 0; arguments[i] != NULL && i < ARGUMENTS_MAX; i++)
		argv[1 + i] = arguments[i];
	spec.fds[spec.fd_count++] = (struct child_fd){worker->message_fd, 2};
	if (fds[0] >= 0)
		spec.fds[spec.fd_count++] = (struct child_fd){fds[0], 0};
	if (fds[1] >= 0)
		spec.fds[spec.fd_count++] = (struct child_fd){fds[1], 3};
	supervisor_cgroups_find(&cgroups);
	r = child_start(&spec, &worker->pid, NULL, err);
	if (r < 0)
		return r;
	worker->next = daemon->workers;
	daemon->workers = worker;
	return 0;
}

static int start_any(struct daemon *daemon, const char *program, const char *const *arguments, const int *fds, worker_done *done,
		     void *context, struct error *err)
{
	auto_free struct worker *worker = calloc(1, sizeof(*worker));
	int r = worker == NULL ? fail_errno(err, ENOMEM, "start %s", program) : 0;

	if (r == 0)
		r = memory_file("message", NULL, 0, &worker->message_fd, err);
	if (r < 0)
		return r;
	worker->done = done;
	worker->context = context;
	r = start(daemon, worker, program, arguments, fds, err);
	if (r < 0)
		(void) close(worker->message_fd);
	else
		(void) take_ptr(&worker);
	return r;
}

int worker_start(struct daemon *daemon, const char *program, const char *const *arguments, const void *input, size_t size,
		 worker_done *done, void *context, struct error *err)
{
	auto_close int input_fd = FD_NONE;
	int r = memory_file("input", input, size, &input_fd, err);

	return r < 0 ? r : start_any(daemon, program, arguments, (int[]){input_fd, FD_NONE}, done, context, err);
}

int worker_start_with(struct daemon *daemon, const char *program, const char *const *arguments, int fd, worker_done *done,
		      void *context, struct error *err)
{
	return start_any(daemon, program, arguments, (int[]){FD_NONE, fd}, done, context, err);
}

static void end(struct daemon *daemon, struct worker *worker, int status)
{
	char message[MESSAGE_MAX + 1];
	ssize_t size = pread(worker->message_fd, message, MESSAGE_MAX, 0);

	message[size > 0 ? size : 0] = '\0';
	for (; size > 0 && message[size - 1] == '\n'; size--)
		message[size - 1] = '\0';
	worker->done(daemon, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), message, worker->context);
	(void) close(worker->message_fd);
	free(worker);
}

void workers_reap(struct daemon *daemon)
{
	struct worker **link = &daemon->workers;

	while (*link != NULL) {
		struct worker *worker = *link;
		int status;

		if (waitpid(worker->pid, &status, WNOHANG) != worker->pid) {
			link = &worker->next;
			continue;
		}
		*link = worker->next;
		end(daemon, worker, status);
		link = &daemon->workers; /* what was done may have started others */
	}
}

bool workers_seal(const struct daemon *daemon, Hydra__V1__SealedDaemon *sealed)
{
	size_t count = 0;

	for (const struct worker *worker = daemon->workers; worker != NULL; worker = worker->next)
		count++;
	sealed->workers = calloc(count + 1, sizeof(*sealed->workers));
	for (const struct worker *worker = daemon->workers; worker != NULL && sealed->workers != NULL; worker = worker->next) {
		Hydra__V1__SealedWorker *item = malloc(sizeof(*item));

		if (item == NULL)
			return false;
		hydra__v1__sealed_worker__init(item);
		item->pid = worker->pid;
		item->message_fd = worker->message_fd;
		sealed->workers[sealed->n_workers++] = item;
	}
	return sealed->workers != NULL;
}

/* Started by the binary before: what it did is found out by looking. */
static void noted(struct daemon *daemon, int exit_status, const char *message, void *context)
{
	(void) context;
	if (exit_status != 0)
		log_warning("worker failed", "status=%d error=\"%s\"", exit_status, message);
	entries_rescan(daemon);
}

void workers_unseal(struct daemon *daemon, const Hydra__V1__SealedDaemon *sealed)
{
	for (size_t i = 0; i < sealed->n_workers; i++) {
		struct worker *worker = calloc(1, sizeof(*worker));

		if (worker == NULL)
			continue;
		*worker = (struct worker){.pid = sealed->workers[i]->pid, .message_fd = sealed->workers[i]->message_fd,
					  .done = noted, .next = daemon->workers};
		daemon->workers = worker;
	}
	workers_reap(daemon);
}
