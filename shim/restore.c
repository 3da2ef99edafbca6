/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers to and from images: hydra-checkpoint does the work as our child, and the restored init becomes our child
 * when it ends.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/health.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPORT_FILE    "checkpoint.log"
#define GROUPS_FILE    "cgroups"
#define REPORT_MAX     (256U << 10)
#define ARGUMENTS_MAX  128
#define FIRST_FD       3

struct arguments {
	const char *list[ARGUMENTS_MAX];
	size_t count;
	char *owned[ARGUMENTS_MAX];
	size_t owned_count;
};

static void add(struct arguments *self, const char *name, const char *value)
{
	if (self->count + 3 > ARGUMENTS_MAX)
		abort();
	self->list[self->count++] = name;
	if (value != NULL)
		self->list[self->count++] = value;
}

/* Takes value. */
static void add_owned(struct arguments *self, const char *name, char *value)
{
	self->owned[self->owned_count++] = value;
	add(self, name, value);
}

static void arguments_deinit(struct arguments *self)
{
	while (self->owned_count > 0)
		free(self->owned[--self->owned_count]);
}

static int open_output(struct container *self, const char *name, struct error *err)
{
	int fd = openat(self->dir.fd, name, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	return fd < 0 ? fail_errno(err, errno, "make '%s' of container '%s'", name, self->dir.id) : fd;
}

/* The last line of what the program wrote on its standard error. */
static int explain(struct container *self, const char *operation, int exit_status, struct error *err)
{
	auto_free char *text = NULL;
	struct error ignored;
	size_t size = 0;
	char *line;

	if (file_read(self->dir.fd, REPORT_FILE, REPORT_MAX, &text, &size, &ignored) < 0)
		size = 0;
	while (size > 0 && text[size - 1] == '\n')
		text[--size] = '\0';
	if (size == 0)
		return fail_because(err, EIO, "%s container '%s': hydra-checkpoint ended with status %d and gave no reason",
				    operation, self->dir.id, exit_status);
	line = strrchr(text, '\n');
	return fail_because(err, EIO, "%s container '%s': %.400s", operation, self->dir.id, line != NULL ? line + 1 : text);
}

/* Restoring: cgroups and state of the runtime, then the tasks, then the runtime learns of them. */

static bool is_received(const struct container *self)
{
	const Hydra__V1__Migration *migration = self->record->migration;

	return migration != NULL && strcmp(migration->phase, "receiving") == 0;
}

/* The source, which may have given it away by then, has to hear that it does not run here either (checkpoint/receive.h). */
static void note_loss(const struct container *self)
{
	auto_free char *lost = text_format("%s/lost", self->record->restore_images);
	struct error ignored;

	if (is_received(self) && self->record->restore_images[0] != '\0')
		(void) file_replace_fast(AT_FDCWD, lost, "", 0, 0600, &ignored);
}

static void give_up(struct container *self, const struct error *err)
{
	note_loss(self);
	keeper_forget(self);
	if (self->init != NULL && self->init->pid == 0) {
		process_free(self->init);
		self->init = NULL;
	}
	self->is_vanishing = true;
	container_note(self, "restore-failed", NULL, err->message);
	container_finish(self, err);
}

static void adopted(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err = ERROR_NONE;
	bool has_come = is_received(self);

	(void) shim;
	if (exit_status != 0) {
		(void) runtime_failure(self, "adopt", exit_status, &err);
		log_error("runtime does not know the restored container", "container=%s error=\"%s\"", self->dir.id, err.message);
	}
	err = ERROR_NONE;
	(void) message_set_string(&self->record->restore_images, "");
	if (self->record->migration != NULL)
		(void) message_set_string(&self->record->migration->phase, "received");
	self->init->has_started = true;
	if (container_move(self, EVENT_STARTED, &err) == 0)
		container_note(self, has_come ? "migrated-in" : "restored", self->init,
			       has_come ? self->record->migration->peer : NULL);
	keeper_conclude(self);
	health_begin(self);
	container_finish(self, &err);
}

static int tell_runtime(struct container *self, struct error *err)
{
	char text[16];
	const char *arguments[] = {"--pid", text, self->dir.id, NULL};

	(void) text_fit(text, sizeof(text), "%d", (int) self->init->pid);
	return runtime_start(self, "adopt", arguments, NULL, 0, adopted, self, err);
}

static void ignore_result(struct container *self, const struct error *err, void *context)
{
	(void) self;
	(void) err;
	(void) context;
}

void restore_go_on(struct container *self)
{
	struct error err = ERROR_NONE;

	if (container_begin(self, "restore", ignore_result, NULL) && tell_runtime(self, &err) < 0)
		container_finish(self, &err);
}

static int follow(struct container *self, int exit_status, struct error *err)
{
	pid_t pid;
	int r;

	if (exit_status != 0)
		return explain(self, "restore", exit_status, err);
	r = container_read_pid(self, "init.pid", &pid, err);
	if (r == 0)
		r = container_follow_init(self, pid, err);
	/* with a pid in its record it is no half-done container any more: nobody else has it now */
	if (r == 0)
		r = container_save(self, err);
	if (r < 0)
		return r;
	self->init->started_ns = self->record->started_ns;
	fault_point("shim.restored");
	keeper_check(self);
	return tell_runtime(self, err);
}

static void restored(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err = ERROR_NONE;

	(void) shim;
	if (follow(self, exit_status, &err) < 0)
		give_up(self, &err);
}

static void add_fd(struct arguments *arguments, struct child_spec *spec, const char *name, int fd)
{
	int number = FIRST_FD + (int) spec->fd_count;

	if (fd < 0)
		return;
	spec->fds[spec->fd_count++] = (struct child_fd){fd, number};
	add_owned(arguments, name, text_format("%d", number));
}

static void add_groups(struct arguments *arguments, char *groups)
{
	for (char *line = strsep(&groups, "\n"); line != NULL; line = strsep(&groups, "\n")) {
		if (line[0] != '\0')
			add(arguments, "--cgroup", line);
	}
}

static void add_places(struct container *self, struct arguments *arguments)
{
	const record *container = self->record;
	const Hydra__V1__Rootfs *rootfs = container->rootfs;
	const Hydra__V1__Network *network = container->network;

	add_owned(arguments, "--images", text_format("%s/images", container->restore_images));
	add_owned(arguments, "--root", text_format("%s/rootfs", container->bundle));
	if (rootfs != NULL && rootfs->lower[0] != '\0')
		add_owned(arguments, "--overlay", text_format("lowerdir=%s,upperdir=%s,workdir=%s", rootfs->lower, rootfs->upper,
							      rootfs->work));
	if (network != NULL && network->netns_path[0] != '\0')
		add(arguments, "--netns", network->netns_path);
	if (network != NULL && network->host_interface[0] != '\0') {
		add(arguments, "--veth", network->host_interface);
		add(arguments, "--bridge", network->bridge);
	}
	add_owned(arguments, "--pid-file", run_dir_path(&self->dir, "init.pid"));
	if (is_received(self)) {
		add(arguments, "--lazy", NULL);
		add_owned(arguments, "--handoff", text_format("%s/handoff.sock", container->restore_images));
	}
}

/* The pty master comes as it does from the runtime: over a connection to console.sock. */
static int connect_console(struct container *self, int *ret_fd, struct error *err)
{
	auto_free char *path = run_dir_path(&self->dir, "console.sock");

	return self->record->terminal ? socket_connect(path, ret_fd, err) : 0;
}

static int start_restore(struct container *self, struct error *err)
{
	struct arguments arguments = {.list = {"hydra-checkpoint", "restore"}, .count = 2};
	/* it dies with us until the tasks are about to run (checkpoint/restore.c): our successor could not know how it ends */
	struct child_spec spec = {.path = self->shim->checkpoint_path, .argv = arguments.list, .cwd = "/", .death_signal = SIGKILL};
	auto_close int report_fd = open_output(self, REPORT_FILE, err);
	auto_close int keeper_fd = FD_NONE;
	auto_close int console_fd = FD_NONE;
	auto_free char *groups = NULL;
	int r = report_fd < 0 ? report_fd : file_read(self->dir.fd, GROUPS_FILE, REPORT_MAX, &groups, NULL, err);

	if (r == 0 && is_received(self))
		r = keeper_open(self, &keeper_fd, err);
	if (r == 0)
		r = connect_console(self, &console_fd, err);
	if (r < 0)
		return r;
	add_places(self, &arguments);
	add_groups(&arguments, groups);
	add_fd(&arguments, &spec, "--stdin-fd", self->init->child_ends[0]);
	add_fd(&arguments, &spec, "--stdout-fd", self->init->child_ends[1]);
	add_fd(&arguments, &spec, "--stderr-fd", self->init->child_ends[2]);
	add_fd(&arguments, &spec, "--keeper-fd", keeper_fd);
	add_fd(&arguments, &spec, "--console-socket-fd", console_fd);
	spec.fds[spec.fd_count++] = (struct child_fd){report_fd, STDERR_FILENO};
	(void) unlinkat(self->dir.fd, "init.pid", 0);
	r = task_start(self->shim, &spec, restored, self, err);
	arguments_deinit(&arguments);
	return r;
}

static void prepared(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err = ERROR_NONE;

	(void) shim;
	if (exit_status != 0)
		(void) runtime_failure(self, "restore", exit_status, &err);
	else
		(void) start_restore(self, &err);
	if (err.code < 0)
		give_up(self, &err);
}

void container_restore(struct container *self, container_then *then, void *context)
{
	const char *arguments[] = {"--bundle", self->record->bundle, self->dir.id, NULL};
	auto_close int groups_fd = FD_NONE;
	struct error err = ERROR_NONE;
	int r;

	if (!container_begin(self, "restore", then, context))
		return;
	fault_point("shim.before-restore");
	exit_record_forget(self->dir.fd, "");
	r = container_new_init(self, &err);
	if (r == 0)
		groups_fd = r = open_output(self, GROUPS_FILE, &err);
	if (r >= 0)
		r = runtime_start(self, "adopt-prepare", arguments, &(struct child_fd){groups_fd, STDOUT_FILENO}, 1, prepared, self,
				  &err);
	if (r < 0)
		give_up(self, &err);
}

/* To disk. */

static void dumped(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;
	struct error err = ERROR_NONE;

	(void) shim;
	if (exit_status != 0)
		(void) explain(self, "checkpoint", exit_status, &err);
	else
		container_note(self, "checkpointed", self->init, NULL);
	if (exit_status != 0)
		(void) message_set_string(&self->record->restore_images, "");
	container_finish(self, &err);
}

static int start_dump(struct container *self, const Hydra__V1__CheckpointRequest *request, struct error *err)
{
	auto_close int report_fd = open_output(self, REPORT_FILE, err);
	char pid[16];
	const char *argv[] = {"hydra-checkpoint", "dump", "--id", self->dir.id, "--images", request->images, "--pid", pid,
			      request->leave_running ? "--leave-running" : NULL, NULL};
	struct child_spec spec = {.path = self->shim->checkpoint_path, .argv = argv, .cwd = "/"};

	if (report_fd < 0)
		return err->code;
	if (self->record->state != HYDRA__V1__CONTAINER_STATE__STATE_RUNNING)
		return fail_because(err, EBUSY, "checkpoint container '%s': it is %s", self->dir.id,
				    state_name(self->record->state));
	(void) text_fit(pid, sizeof(pid), "%d", (int) self->record->pid);
	spec.fds[spec.fd_count++] = (struct child_fd){report_fd, STDERR_FILENO};
	/* its end is then no crash: see process.c */
	if (!request->leave_running && !message_set_string(&self->record->restore_images, request->images))
		return fail_errno(err, ENOMEM, "checkpoint container '%s'", self->dir.id);
	return task_start(self->shim, &spec, dumped, self, err);
}

void container_checkpoint(struct container *self, const Hydra__V1__CheckpointRequest *request, container_then *then,
			  void *context)
{
	struct error err = ERROR_NONE;

	if (container_begin(self, "checkpoint", then, context) && start_dump(self, request, &err) < 0)
		container_finish(self, &err);
}
