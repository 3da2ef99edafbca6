/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a container to this host: hydra-pager talks to the source; when it says "prepare", the container is made
 * here and its shim told to restore it. Whatever fails before the commit leaves nothing behind.
 */
#include "base/child.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "setup/setup.h"
#include "state/layer_store.h"
#include "state/migration_file.h"
#include "state/migration_log.h"
#include "state/volumes_made.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTION_NUMBER 3
#define PROGRESS_NUMBER   4
#define LINE_MAX_SIZE     16384
#define RECEIVE_DONE      0

struct reception {
	const char *root;
	const char *certificates;
	pid_t worker;
	int progress_fd;
	char line[LINE_MAX_SIZE];
	size_t line_size;
	char namespace[80], id[80], work[512];
	char lower[4096]; /* the layer below the writable one; "": the record tells */
	char folder[512]; /* of the worker; known before it exists, work when all the rest is */
	struct run_dir dir;
	bool has_container; /* ours to remove when this fails */
	bool is_committed, is_synced;
	pid_t caller; /* asks the shim to restore, and waits for it */
	int caller_fd;
	struct error failure;
	char migration[128], peer[80], mode[32];
	int file_fd; /* progress, for who wants to know */
};

static volatile sig_atomic_t worker_pid;

static void cancel(int signal_number)
{
	if (worker_pid > 0)
		(void) kill(worker_pid, signal_number);
}

/* The source hears why: hydra-pager finds the reason in its folder. */
static void refuse(struct reception *self, const struct error *err)
{
	auto_free char *path = text_format("%s/reason", self->work);
	struct error ignored;

	if (self->failure.code == 0)
		self->failure = *err;
	(void) file_replace_fast(AT_FDCWD, path, err->message, strlen(err->message), 0600, &ignored);
	(void) kill(self->worker, SIGTERM);
}

/* The shim answers when the tasks run, which is after the commit: somebody else waits for it. */
static int start_caller(struct reception *self, struct error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	self->caller = fork();
	if (self->caller < 0)
		return fail_errno(err, errno, "ask the shim to restore");
	if (self->caller == 0) {
		struct error failure = ERROR_NONE;
		int r = launch_call_patiently(self->root, self->namespace, self->id, "Create", &failure);

		(void) fd_write_full(ends[1], &failure, sizeof(failure));
		_exit(r < 0);
	}
	(void) close(ends[1]);
	self->caller_fd = ends[0];
	return 0;
}

/* What can't be noted is no reason to refuse a container. */
static void begin_log(struct reception *self, const char *line)
{
	char mode[16] = "";
	struct migration_start start = {.id = self->migration, .namespace = self->namespace, .container = self->id, .peer = self->peer,
					.mode = self->mode, .is_arrival = true};
	struct error ignored;

	(void) progress_text(line, "mode", mode, sizeof(mode));
	start.mode = mode;
	if (migration_file_make(self->root, self->migration, &self->file_fd, &ignored) == 0)
		migration_log_begin(&start, self->file_fd);
}

static void end_log(struct reception *self, const struct error *err)
{
	auto_free char *safe = progress_safe(err != NULL ? err->message : "");

	if (self->file_fd < 0)
		return;
	(void) dprintf(self->file_fd, "{\"phase\":\"%s\",\"message\":\"%s\",\"time_ns\":%llu,\"is_final\":true%s}\n", err == NULL ? "done" : "failed",
		       safe, (unsigned long long) clock_realtime_ns(), err != NULL ? ",\"has_failed\":true" : "");
	migration_log_end(self->root, self->migration);
	owned_fd_release(&self->file_fd);
	self->file_fd = FD_NONE;
}

static int prepare(struct reception *self, const char *line, struct error *err)
{
	unsigned long long epoch = 0;
	struct target target = {.root = self->root, .namespace = self->namespace, .id = self->id, .images = self->work,
				.migration = self->migration, .peer = "", .epoch = 0, .lower = self->lower};
	int r;

	if (!progress_text(line, "id", self->id, sizeof(self->id)) ||
	    !progress_text(line, "namespace", self->namespace, sizeof(self->namespace)) ||
	    !progress_text(line, "work", self->work, sizeof(self->work)) ||
	    !progress_text(line, "migration", self->migration, sizeof(self->migration)))
		return fail_because(err, EPROTO, "hydra-pager did not say what comes");
	(void) progress_number(line, "epoch", &epoch);
	(void) progress_text(line, "lower", self->lower, sizeof(self->lower));
	target.epoch = epoch;
	r = id_check("namespace", self->namespace, err);
	if (r == 0)
		r = id_check("container name", self->id, err);
	(void) progress_text(line, "mode", self->mode, sizeof(self->mode));
	if (r == 0)
		begin_log(self, line);
	if (r == 0)
		r = target_make(&target, &self->dir, err);
	self->has_container = r == 0;
	fault_point("setup.receive.made");
	return r < 0 ? r : start_caller(self, err);
}

static void sync_disk(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		(void) syncfs(fd);
}

/* What its programs had on the disk of the source is on one here soon, too. It runs already, and nobody waits for this. */
static void sync_later(const struct reception *self)
{
	auto_free char *path = text_format("%s/%s/%s", self->root, self->namespace, self->id);
	auto_free char *data = bundle_data_path(self->namespace, self->id);
	auto_close int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_record *container = NULL;
	struct error ignored;

	if (dir_fd < 0 || record_load(dir_fd, &container, &ignored) < 0 || fork() != 0)
		return;
	worker_pid = 0; /* not ours to end */
	(void) kernel_close_range(3, ~0U, 0); /* locks and connections are our parent's */
	sync_disk(data);
	for (size_t i = 0; i < container->n_carried_volumes; i++)
		sync_disk(container->carried_volumes[i]);
	fault_point("setup.receive.synced");
	_exit(0);
}

static void handle_line(struct reception *self, const char *line)
{
	char phase[64] = "", message[400] = "";
	struct error err;

	if (self->file_fd >= 0)
		(void) dprintf(self->file_fd, "%s\n", line);
	(void) progress_text(line, "phase", phase, sizeof(phase));
	(void) progress_text(line, "message", message, sizeof(message));
	(void) progress_text(line, "folder", self->folder, sizeof(self->folder));
	if (strcmp(phase, "prepare") == 0 && self->work[0] == '\0' && prepare(self, line, &err) < 0)
		refuse(self, &err);
	else if (strcmp(phase, "committed") == 0)
		self->is_committed = true;
	else if (strcmp(phase, "paging") == 0 && !self->is_synced)
		sync_later(self);
	else if (message[0] != '\0' && self->failure.code == 0 &&
		 (strcmp(phase, "failed") == 0 || strcmp(phase, "broken") == 0))
		(void) fail_because(&self->failure, EIO, "%s", message);
	self->is_synced |= strcmp(phase, "paging") == 0;
	if (strcmp(phase, "failed") == 0)
		self->is_committed = false; /* nothing of it ever ran */
}

/* False at the end. */
static bool read_progress(struct reception *self)
{
	ssize_t got = read(self->progress_fd, self->line + self->line_size, sizeof(self->line) - 1 - self->line_size);
	char *end;

	if (got < 0 && errno == EINTR)
		return true;
	if (got <= 0)
		return false;
	self->line_size += (size_t) got;
	self->line[self->line_size] = '\0';
	while ((end = strchr(self->line, '\n')) != NULL) {
		*end = '\0';
		handle_line(self, self->line);
		self->line_size -= (size_t) (end + 1 - self->line);
		memmove(self->line, end + 1, self->line_size + 1);
	}
	if (self->line_size == sizeof(self->line) - 1)
		self->line_size = 0;
	return true;
}

/* 0: it is restored. */
static int hear_caller(struct reception *self)
{
	struct error failure = ERROR_NONE;
	int status;

	if (fd_read_full(self->caller_fd, &failure, sizeof(failure)) < 0)
		(void) fail_because(&failure, EIO, "nobody waits for the shim any more");
	owned_fd_release(&self->caller_fd);
	self->caller_fd = FD_NONE;
	(void) waitpid(self->caller, &status, 0);
	if (failure.code < 0)
		refuse(self, &failure);
	else
		run_dir_close(&self->dir); /* others may work on it, while pages are still coming */
	return failure.code;
}

static int serve(struct reception *self, struct error *err)
{
	int status = 255;

	for (;;) {
		struct pollfd ready[] = {{.fd = self->progress_fd, .events = POLLIN}, {.fd = self->caller_fd, .events = POLLIN}};

		if (poll(ready, 2, -1) < 0)
			continue;
		if (ready[1].revents != 0)
			(void) hear_caller(self);
		if (ready[0].revents != 0 && !read_progress(self))
			break;
	}
	(void) child_wait(self->worker, &status, err);
	worker_pid = 0;
	if (self->caller_fd >= 0)
		(void) hear_caller(self);
	return status;
}

static int start_worker(struct reception *self, int connection_fd, struct error *err)
{
	auto_free char *program = child_program("hydra-pager");
	auto_free char *work = text_format("%s/.work", self->root);
	auto_free char *verdicts = text_format("%s/.verdicts", data_root());
	auto_free char *ca = text_format("%s/ca.pem", self->certificates);
	auto_free char *certificate = text_format("%s/cert.pem", self->certificates);
	auto_free char *key = text_format("%s/key.pem", self->certificates);
	const char *argv[] = {"hydra-pager", "receive", "--connection-fd", "3", "--progress-fd", "4", "--ca", ca, "--cert",
			      certificate, "--key", key, "--work-root", work, "--layer-root", data_root(), "--verdicts", verdicts, "--run-root", self->root,
			      NULL};
	struct child_spec spec = {.path = program, .argv = argv, .cwd = "/", .death_signal = SIGTERM,
				  .fds = {{STDERR_FILENO, 2}, {connection_fd, CONNECTION_NUMBER}}, .fd_count = 2};
	int ends[2];
	int r = dir_make_all(work, 0700, err);

	if (r == 0)
		r = dir_make_all(data_root(), 0711, err);
	if (r == 0 && pipe2(ends, O_CLOEXEC) < 0)
		r = fail_errno(err, errno, "make a pipe");
	if (r < 0)
		return r;
	spec.fds[spec.fd_count++] = (struct child_fd){ends[1], PROGRESS_NUMBER};
	r = child_start(&spec, &self->worker, NULL, err);
	(void) close(ends[1]);
	self->progress_fd = ends[0];
	worker_pid = self->worker;
	return r;
}

/* What the worker could not remove because it was killed, and what is ours. */
static void undo(struct reception *self)
{
	auto_free char *store = layer_store_root(data_root());
	struct error err;

	run_dir_close(&self->dir);
	if (self->has_container && container_remove(self->root, self->namespace, self->id, true, &err) < 0 && err.code != -ENOENT)
		log_error("container of a failed migration not removed", "container=%s error=\"%s\"", self->id, err.message);
	if (self->folder[0] != '\0')
		dir_unmount_all(self->folder);
	if (self->folder[0] != '\0') {
		volumes_made_undo(self->folder);
		(void) dir_remove_all(AT_FDCWD, self->folder, &err);
	}
	layer_store_sweep(store);
	if (self->has_container) {
		auto_free char *data = bundle_data_path(self->namespace, self->id);

		(void) dir_remove_all(AT_FDCWD, data, &err);
	}
}

/* The address alone: the port is another one each time. */
static void name_peer(struct reception *self, int connection_fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	if (getpeername(connection_fd, (struct sockaddr *) &address, &size) < 0 ||
	    getnameinfo((struct sockaddr *) &address, size, self->peer, sizeof(self->peer), NULL, 0, NI_NUMERICHOST) != 0)
		self->peer[0] = '\0';
}

static int conclude(const struct reception *self, int status, struct error *err)
{
	if (status == RECEIVE_DONE && self->failure.code == 0)
		return 0;
	if (self->failure.code < 0)
		return fail_because(err, EIO, "receive container '%s': %s", self->id, self->failure.message);
	if (self->id[0] == '\0') /* another connection of a migration that others work on; the source sees its end */
		return fail_because(err, EIO, "the connection led nowhere (status %d)", status);
	return fail_because(err, EIO, "receive container '%s': the receive worker was killed", self->id);
}

int container_receive(const char *root, const char *certificates, int connection_fd, struct error *err)
{
	struct reception self = {.root = root, .certificates = certificates, .progress_fd = FD_NONE, .caller_fd = FD_NONE, .file_fd = FD_NONE,
				 .dir = RUN_DIR_CLOSED};
	struct sigaction action = {.sa_handler = cancel};
	int status;
	int r;

	(void) sigaction(SIGTERM, &action, NULL);
	(void) sigaction(SIGINT, &action, NULL);
	name_peer(&self, connection_fd);
	r = start_worker(&self, connection_fd, err);
	(void) close(connection_fd);
	if (r < 0)
		return r;
	status = serve(&self, err);
	owned_fd_release(&self.progress_fd);
	/* from the commit on the container belongs here: its shim decides what becomes of it */
	if (status != RECEIVE_DONE && !self.is_committed)
		undo(&self);
	run_dir_close(&self.dir);
	r = conclude(&self, status, err);
	end_log(&self, r < 0 ? err : NULL);
	return r;
}
