/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a container to another host, source side: asks its shim, lets hydra-pager send it, and removes what is left.
 *
 * The connection to the shim is the lease on the container; the send worker holds it too, so that the shim does not
 * believe us dead while the worker is still at it. For the successor of a shim that dies meanwhile we both hold a lock.
 */
#include "base/child.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
#include "state/migration_file.h"
#include "state/migration_log.h"
#include "state/shim_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <yyjson.h>

#define CALL_TIMEOUT_MS 30000
#define CONFIG_SIZE_MAX (4U << 20)
#define ARGUMENTS_MAX   256
#define SEND_MOVED      0
#define SEND_STAYED     1
#define SEND_IN_DOUBT   4
#define KILLED          128 /* and the signal's number */
#define RESUMES_MAX     8
#define PROGRESS_NUMBER 3
#define LEASE_NUMBER    4
#define LOCK_NUMBER     5

struct migrate {
	const struct migrate_request *request;
	struct run_dir dir;
	record *container;
	int lease_fd;
	int file_fd;
	char *work; /* the worker's folder; it removes it unless it is killed */
	const char *argv[ARGUMENTS_MAX];
	size_t count;
	bool is_overfull;
};

static volatile sig_atomic_t worker_pid;

static void cancel(int signal_number)
{
	if (worker_pid > 0)
		(void) kill(worker_pid, signal_number);
}

static void say(struct migrate *self, const char *phase, const char *message, bool is_final, bool has_failed)
{
	auto_free char *safe = text_copy(message);

	for (char *at = safe; *at != '\0'; at++) {
		if (*at == '"' || *at == '\\' || (unsigned char) *at < 0x20)
			*at = '\'';
	}
	(void) dprintf(self->file_fd,
		       "{\"phase\":\"%s\",\"container\":\"%s\",\"setup_pid\":%d,\"time_ns\":%llu,\"message\":\"%s\"%s%s}\n", phase,
		       self->request->id, (int) getpid(), (unsigned long long) clock_realtime_ns(), safe,
		       is_final ? ",\"is_final\":true" : "", has_failed ? ",\"has_failed\":true" : "");
}

static int begin(struct migrate *self, struct error *err)
{
	const struct migrate_request *request = self->request;
	Hydra__V1__MigrationBeginRequest message = HYDRA__V1__MIGRATION_BEGIN_REQUEST__INIT;
	auto_message Hydra__V1__MigrationBeginResponse *response = NULL;
	int r = shim_process_connect(request->root, request->namespace, request->id, &self->lease_fd, err);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail_because(err, EBUSY, "migrate container '%s': it does not run", request->id);
	message.migration_id = (char *) (uintptr_t) request->migration;
	message.peer = (char *) (uintptr_t) request->host;
	if (r == 0)
		r = ttrpc_call_blocking(self->lease_fd, "hydra.v1.Shim", "MigrationBegin", &message.base,
					&hydra__v1__migration_begin_response__descriptor, CALL_TIMEOUT_MS,
					(ProtobufCMessage **) (void *) &response, err);
	if (r == 0 && response->record == NULL)
		r = fail_because(err, EPROTO, "the shim of '%s' sent no record", request->id);
	if (r == 0)
		self->container = (record *) (void *) message_copy(&response->record->base);
	return r;
}

/* The shim, or its successor, knows by this lock that we or our worker live. One that died before we had it is taken to have undone
 * what it granted. */
static int hold(struct migrate *self, struct error *err)
{
	int r = run_dir_lock_wait(&self->dir, LOCK_MIGRATION, err);
	uint8_t byte;

	if (r == 0 && recv(self->lease_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		r = fail_because(err, ECONNRESET, "migrate container '%s': its shim died", self->request->id);
	return r;
}

static int end(struct migrate *self, bool is_done, struct error *err)
{
	const struct migrate_request *request = self->request;
	Hydra__V1__MigrationEndRequest message = HYDRA__V1__MIGRATION_END_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;
	auto_close int fd = FD_NONE;
	int r = shim_process_connect(request->root, request->namespace, request->id, &fd, err);

	message.migration_id = (char *) (uintptr_t) request->migration;
	message.is_done = is_done;
	if (r == 0)
		r = ttrpc_call_blocking(fd, "hydra.v1.Shim", "MigrationEnd", &message.base, &hydra__v1__empty__descriptor,
					CALL_TIMEOUT_MS, &response, err);
	return r;
}

static void add(struct migrate *self, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	self->is_overfull |= self->count + 5 > ARGUMENTS_MAX; /* this, two words of look(), and the end */
	if (self->is_overfull)
		return;
	self->argv[self->count++] = name;
	self->argv[self->count++] = text_copy(value);
}

/* Something in the way that hydra-pager can't know of; it reports it with all others. */
static void add_obstacle(struct migrate *self, const char *object, const char *reason, const char *remedy)
{
	auto_free char *text = text_format("%s\t%s\t%s", object, reason, remedy);

	add(self, "--obstacle", text);
}

static void add_format(struct migrate *self, const char *name, const char *folder, const char *file)
{
	auto_free char *path = text_format("%s/%s", folder, file);

	add(self, name, path);
}

static bool is_carried(const record *container, const char *path)
{
	for (size_t i = 0; i < container->n_carried_volumes; i++) {
		if (strcmp(container->carried_volumes[i], path) == 0)
			return true;
	}
	return false;
}

/* What must be at the target as it is here: the sources of bind mounts. */
static int add_binds(struct migrate *self, struct error *err)
{
	auto_free char *path = text_format("%s/config.json", self->container->bundle);
	auto_free char *data = NULL;
	size_t size;
	yyjson_doc *doc;
	yyjson_arr_iter iterator;
	int r = file_read(AT_FDCWD, path, CONFIG_SIZE_MAX, &data, &size, err);

	if (r < 0)
		return r;
	doc = yyjson_read(data, size, 0);
	iterator = yyjson_arr_iter_with(yyjson_obj_get(yyjson_doc_get_root(doc), "mounts"));
	for (yyjson_val *mount = yyjson_arr_iter_next(&iterator); mount != NULL; mount = yyjson_arr_iter_next(&iterator)) {
		const char *type = yyjson_get_str(yyjson_obj_get(mount, "type"));
		const char *source = yyjson_get_str(yyjson_obj_get(mount, "source"));

		if (source != NULL && source[0] == '/' && (type == NULL || strcmp(type, "bind") == 0) && !is_carried(self->container, source))
			add(self, "--require", source);
	}
	yyjson_doc_free(doc);
	return 0;
}

static int add_rootfs(struct migrate *self, struct error *err)
{
	const Hydra__V1__Rootfs *rootfs = self->container->rootfs;

	if (rootfs == NULL) {
		add_obstacle(self, "bundle", "it was made from a bundle", "make the container with --rootfs");
		return 0;
	}
	add(self, "--lower", rootfs->lower);
	add_format(self, "--layers", data_root(), ".layers");
	add(self, "--layer", rootfs->upper);
	for (size_t i = 0; i < self->container->n_carried_volumes; i++)
		add(self, "--volume", self->container->carried_volumes[i]);
	return add_binds(self, err);
}

static int add_all(struct migrate *self, struct error *err)
{
	const struct migrate_request *request = self->request;
	const Hydra__V1__Network *network = self->container->network;
	auto_free char *epoch = self->container->migration == NULL ? text_copy("") : text_format("%llu", (unsigned long long) self->container->migration->epoch);
	auto_free char *pid = text_format("%d", self->container->pid);

	if (network != NULL && strcmp(network->mode, "host") == 0)
		add_obstacle(self, "network", "it uses the network of this host", "run it with a network of its own");
	add(self, "--connect", request->host);
	add_format(self, "--ca", request->certificates, "ca.pem");
	add_format(self, "--cert", request->certificates, "cert.pem");
	add_format(self, "--key", request->certificates, "key.pem");
	add(self, "--id", request->id);
	add(self, "--namespace", request->namespace);
	add(self, "--migration", request->migration);
	add(self, "--epoch", epoch);
	add(self, "--pid", pid);
	add(self, "--work", self->work);
	add(self, "--state", self->dir.path);
	add_format(self, "--record", self->dir.path, "record");
	add_format(self, "--config", self->container->bundle, "config.json");
	add(self, "--progress-fd", "3");
	add(self, "--hold-fd", "4"); /* LOCK_NUMBER and LEASE_NUMBER */
	add(self, "--hold-fd", "5");
	add(self, "--bandwidth", request->bandwidth != NULL ? request->bandwidth : "");
	add(self, "--compress", request->compress != NULL ? request->compress : "");
	add_format(self, "--departures", data_root(), ".departures");
	add(self, "--mode", request->mode != NULL ? request->mode : "");
	add(self, "--downtime", request->downtime != NULL ? request->downtime : "");
	add(self, "--lost-pages", request->lost_pages != NULL ? request->lost_pages : "");
	for (size_t i = 0; request->deadlines != NULL && i < request->deadlines->count; i++)
		add(self, "--deadline", request->deadlines->items[i]);
	if (network != NULL && network->host_interface[0] != '\0') {
		add(self, "--veth", network->host_interface);
		add(self, "--bridge", network->bridge);
		add(self, "--mac", network->mac);
	}
	return add_rootfs(self, err);
}

static void forget_arguments(struct migrate *self)
{
	for (size_t i = 3; i < self->count; i += 2) /* the values of add() */
		free((char *) (uintptr_t) self->argv[i]);
	self->count = 2;
	self->is_overfull = false;
}

/* argv has everything but the first two words. */
static int run_worker(struct migrate *self, int *ret_status, struct error *err)
{
	auto_free char *program = child_program("hydra-pager");
	struct child_spec spec = {.path = program, .argv = self->argv, .cwd = "/", .death_signal = SIGTERM,
				  .fds = {{STDERR_FILENO, 2}, {self->file_fd, PROGRESS_NUMBER}, {self->dir.lock_fd, LOCK_NUMBER},
					  {self->lease_fd, LEASE_NUMBER}},
				  .fd_count = self->lease_fd >= 0 ? 4 : 3};
	pid_t pid;
	int r;

	if (self->is_overfull)
		return fail_because(err, E2BIG, "migrate container '%s': too many mounts and obstacles to name", self->request->id);
	if (self->request->is_dry_run) { /* nothing is held; its report goes where errors go */
		spec.fds[1] = (struct child_fd){STDERR_FILENO, STDOUT_FILENO};
		spec.fd_count = 2;
	}
	self->argv[0] = "hydra-pager";
	self->argv[1] = "send";
	self->argv[self->count] = NULL;
	r = child_start(&spec, &pid, NULL, err);
	if (r < 0)
		return r;
	worker_pid = pid;
	r = child_wait(pid, ret_status, err);
	worker_pid = 0;
	return r;
}

/* A worker that was killed after the hand-over has left the container's memory to another one. */
static int resume(struct migrate *self, int *status, struct error *err)
{
	int r = 0;

	for (int tries = 0; r == 0 && *status >= KILLED && tries < RESUMES_MAX; tries++) {
		int resumed = 0;

		forget_arguments(self);
		add(self, "--state", self->dir.path);
		add(self, "--migration", self->request->migration);
		add(self, "--progress-fd", "3");
		self->argv[self->count++] = "--resume";
		r = run_worker(self, &resumed, err);
		self->count--;
		if (resumed == SEND_STAYED)
			break;
		*status = resumed;
	}
	return r;
}

/* Its own words are in the progress. */
static int explain(struct migrate *self, int status, struct error *err)
{
	auto_message Hydra__V1__MigrationStatus *progress = NULL;
	struct error ignored;

	(void) migration_file_read(self->request->root, self->request->migration, &progress, NULL, &ignored);
	if (status >= KILLED)
		return fail_because(err, EIO, "migrate container '%s': the send worker was killed by signal %d", self->request->id,
				    status - KILLED);
	return fail_because(err, status == SEND_IN_DOUBT ? ENOTRECOVERABLE : EIO, "migrate container '%s'%s: %s", self->request->id,
			    status == SEND_IN_DOUBT ? " (in doubt, it is stopped here)" : "",
			    progress != NULL && progress->message[0] != '\0' ? progress->message : "no reason was given");
}

static int conclude(struct migrate *self, int status, struct error *err)
{
	const struct migrate_request *request = self->request;
	struct error ignored;

	if (status == SEND_MOVED) {
		fault_point("setup.migrate.moved");
		(void) end(self, true, &ignored);
		return container_remove(request->root, request->namespace, request->id, true, err);
	}
	(void) explain(self, status, err);
	if (status != SEND_IN_DOUBT)
		(void) dir_remove_all(AT_FDCWD, self->work, &ignored);
	/* a killed worker undid nothing: the shim does, when the lease ends */
	if (status < KILLED)
		(void) end(self, false, &ignored);
	return err->code;
}

static int migrate(struct migrate *self, struct error *err)
{
	const struct migrate_request *request = self->request;
	struct migration_start start = {.id = request->migration, .namespace = request->namespace, .container = request->id,
					.peer = request->host};
	struct error ignored;
	int status = 0;
	int r;

	migration_log_begin(&start, self->file_fd);
	say(self, "starting", "", false, false);
	r = run_dir_open(&self->dir, request->root, request->namespace, request->id, err);
	if (r == 0 && request->ends_exec_sessions)
		r = exec_sessions_end(&self->dir, request, err);
	if (r == 0)
		r = begin(self, err);
	if (r < 0)
		return r;
	r = hold(self, err);
	self->count = 2;
	if (r == 0)
		r = add_all(self, err);
	fault_point("setup.migrate.begun");
	if (r == 0)
		r = run_worker(self, &status, err);
	if (r == 0)
		r = resume(self, &status, err);
	if (r < 0) {
		(void) end(self, false, &ignored);
		return r;
	}
	return conclude(self, status, err);
}

static void add_execs(struct migrate *self)
{
	for (size_t i = 0; i < self->container->n_execs && !self->request->ends_exec_sessions; i++) {
		const Hydra__V1__ExecRecord *exec = self->container->execs[i];
		auto_free char *object = text_format("exec '%s' (process %d)", exec->id, exec->pid);

		if (!exec->has_ended)
			add_obstacle(self, object, "it runs in the container and can't be moved", "end it, or use --exec-sessions end");
	}
}

/* Without asking the shim, which goes on as if nothing were. */
static int look(struct migrate *self, struct error *err)
{
	const struct migrate_request *request = self->request;
	int status = 0;
	int r = run_dir_open(&self->dir, request->root, request->namespace, request->id, err);

	if (r == 0)
		r = record_load(self->dir.fd, &self->container, err);
	if (r == 0 && (self->container->state != HYDRA__V1__CONTAINER_STATE__STATE_RUNNING || self->container->pid <= 0))
		r = fail_because(err, EBUSY, "migrate container '%s': it does not run", request->id);
	if (r < 0)
		return r;
	self->count = 2;
	add_execs(self);
	r = add_all(self, err);
	self->argv[self->count++] = "--dry-run";
	if (request->ends_exec_sessions)
		self->argv[self->count++] = "--strangers-end";
	if (r == 0)
		r = run_worker(self, &status, err);
	self->count -= request->ends_exec_sessions ? 2 : 1;
	forget_arguments(self);
	return r == 0 && status != 0 ? fail_because(err, EIO, "migrate container '%s': hydra-pager ended with status %d", request->id, status) : r;
}

int container_preflight(const struct migrate_request *request, struct error *err)
{
	struct migrate self = {.request = request, .dir = RUN_DIR_CLOSED, .lease_fd = FD_NONE, .file_fd = FD_NONE};
	int r;

	self.work = text_format("%s/.work/out-%s", request->root, request->migration);
	r = look(&self, err);
	free(self.work);
	record_free(self.container);
	run_dir_close(&self.dir);
	return r;
}

static void watch_signals(void)
{
	struct sigaction action = {.sa_handler = cancel};

	(void) sigaction(SIGTERM, &action, NULL);
	(void) sigaction(SIGINT, &action, NULL);
}

static void clean_up(struct migrate *self)
{
	forget_arguments(self);
	free(self->work);
	record_free(self->container);
	run_dir_close(&self->dir);
	owned_fd_release(&self->file_fd);
}

int container_migrate(const struct migrate_request *request, struct error *err)
{
	struct migrate self = {.request = request, .dir = RUN_DIR_CLOSED, .lease_fd = FD_NONE, .file_fd = FD_NONE};
	int r = migration_file_make(request->root, request->migration, &self.file_fd, err);

	if (r < 0)
		return r;
	self.work = text_format("%s/.work/out-%s", request->root, request->migration);
	watch_signals();
	r = migrate(&self, err);
	owned_fd_release(&self.lease_fd);
	say(&self, r == 0 ? "done" : "failed", r == 0 ? "" : err->message, true, r < 0);
	migration_log_end(request->root, request->migration);
	clean_up(&self);
	return r;
}

static int check_doubt(const struct migrate *self, struct error *err)
{
	const Hydra__V1__Migration *migration = self->container->migration;

	if (migration != NULL && migration->is_handed_over && self->container->state == HYDRA__V1__CONTAINER_STATE__STATE_MIGRATING)
		return 0;
	return fail_because(err, EINVAL, "container '%s' is not in doubt: it is %s", self->request->id, state_name(self->container->state));
}

/* Without the lock, which who works on it has, nobody does. */
static int migrate_on(struct migrate *self, struct migrate_request *request, struct error *err)
{
	int status = KILLED; /* as if a worker had just died */
	int r = run_dir_open(&self->dir, request->root, request->namespace, request->id, err);

	if (r == 0)
		r = record_load(self->dir.fd, &self->container, err);
	if (r == 0)
		r = check_doubt(self, err);
	if (r == 0)
		r = run_dir_lock(&self->dir, LOCK_MIGRATION, err);
	if (r < 0)
		return r;
	request->migration = self->container->migration->id;
	request->host = self->container->migration->peer;
	self->work = text_format("%s/.work/out-%s", request->root, request->migration);
	self->count = 2;
	r = resume(self, &status, err);
	return r == 0 ? conclude(self, status, err) : r;
}

int container_migrate_on(const struct migrate_request *request, struct error *err)
{
	struct migrate_request known = *request;
	struct migrate self = {.request = &known, .dir = RUN_DIR_CLOSED, .lease_fd = FD_NONE};
	int r;

	self.file_fd = open("/dev/null", O_WRONLY | O_CLOEXEC); /* the worker's progress: it has a file already, which is complete */
	watch_signals();
	r = migrate_on(&self, &known, err);
	clean_up(&self);
	return r;
}
