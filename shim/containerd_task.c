/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd.task.v2.Task and containerd.task.v3.Task: the life of tasks. What only looks is in containerd_query.c.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/containerd.h"
#include "shim/containerd_query.h"
#include "shim/deferred.h"
#include "shim/fifo.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define UNREAD_OUTPUT_NS (2 * NS_PER_S)
#define LOOK_AGAIN_NS    (10 * NS_PER_MS) /* nothing tells that a FIFO is empty */

static struct shim *shim_of(struct ttrpc_call *call)
{
	return call->server->context;
}

/* "OCI runtime create failed: ..." is what Docker and Kubernetes look for. */
static void refuse_oci(struct ttrpc_call *call, const char *what, const struct error *err)
{
	ttrpc_refuse(call, TTRPC_UNKNOWN, "OCI runtime %s failed: %s", what, err->message);
}

static const char *scheme_of_file(const char *name)
{
	return text_has_prefix(name, "file://") ? name + strlen("file://") : NULL;
}

/* "file:///PATH" for stdout is a log: raw, both streams, never rotated. */
static int configure_log(record *made, const Containerd__Task__CreateRequest *request, struct error *err)
{
	const char *path = scheme_of_file(request->stdout);
	Hydra__V1__LogConfig *log;

	if (path == NULL)
		return 0;
	if (request->stderr[0] != '\0' && strcmp(request->stderr, request->stdout) != 0)
		return fail_because(err, EINVAL, "stderr '%s': expected the same file as stdout, '%s'", request->stderr, request->stdout);
	log = malloc(sizeof(*log));
	if (log == NULL)
		return fail_errno(err, ENOMEM, "create '%s'", request->id);
	hydra__v1__log_config__init(log);
	message_free(made->log);
	made->log = log;
	log->format = HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW;
	log->max_size_bytes = INT64_MAX;
	log->max_files = 1;
	return message_set_string(&log->path, path) ? 0 : fail_errno(err, ENOMEM, "create '%s'", request->id);
}

static int note_request(struct container *container, const Containerd__Task__CreateRequest *request, struct error *err)
{
	record *made = container->record;
	const char *names[] = {request->stdin, request->stdout, request->stderr};
	int r = configure_log(made, request, err);

	if (r < 0)
		return r;
	made->terminal = request->terminal;
	made->open_stdin = request->stdin[0] != '\0' && !request->terminal;
	if (!message_set_strings(&made->containerd->stdio, &made->containerd->n_stdio, names, 3) ||
	    !message_set_string(&made->bundle, request->bundle))
		return fail_errno(err, ENOMEM, "create '%s'", request->id);
	return container_save(container, err);
}

static void reply_create(struct ttrpc_call *call, const struct container *container)
{
	Containerd__Task__CreateResponse response = CONTAINERD__TASK__CREATE_RESPONSE__INIT;

	response.pid = (uint32_t) container->init->pid;
	ttrpc_reply(call, &response.base);
}

static void created(struct container *container, const struct error *err, void *context)
{
	struct ttrpc_call *call = context;

	if (err->code < 0) {
		refuse_oci(call, "create", err);
		containerd_unmount_rootfs(container->record->bundle);
	} else {
		reply_create(call, container);
	}
}

static void create(struct ttrpc_call *call, struct container *container, const Containerd__Task__CreateRequest *request)
{
	struct error err;

	/* by a predecessor, which was killed before the container was made */
	if (call->was_begun)
		containerd_unmount_rootfs(request->bundle);
	ttrpc_call_begin(call);
	if (note_request(container, request, &err) < 0 || containerd_mount_rootfs(request, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	fault_point("shim.rootfs-mounted");
	container_create(container, created, call);
}

static void handle_create(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__CreateRequest *request = (const void *) message;
	struct container *container = shim_container(shim_of(call));

	if (deferred_add(container, call, message))
		return;
	if (strcmp(container->dir.id, request->id) != 0)
		ttrpc_refuse(call, TTRPC_INVALID_ARGUMENT, "create '%s': this is the shim of '%s'", request->id, container->dir.id);
	else if (container->init == NULL && !container->is_forgotten)
		create(call, container, request);
	else if (call->was_begun)
		reply_create(call, container);
	else
		ttrpc_refuse(call, TTRPC_ALREADY_EXISTS, "container '%s' exists", request->id);
}

static void reply_start(struct ttrpc_call *call, const struct process *process)
{
	Containerd__Task__StartResponse response = CONTAINERD__TASK__START_RESPONSE__INIT;

	response.pid = (uint32_t) process->pid;
	ttrpc_reply(call, &response.base);
}

static void started(struct container *container, const struct error *err, void *context)
{
	if (err->code < 0)
		refuse_oci(context, "start", err);
	else
		reply_start(context, container->init);
}

static void exec_started(struct container *container, const struct error *err, void *context)
{
	struct ttrpc_call *call = context;

	(void) container;
	if (err->code < 0)
		refuse_oci(call, "exec", err);
	else
		reply_start(call, call->user);
}

static void start_exec(struct ttrpc_call *call, struct container *container, const char *exec_id)
{
	struct process *process = container_find(container, exec_id);
	struct error err;

	if (process != NULL && !process->is_added && call->was_begun) {
		reply_start(call, process);
		return;
	}
	if (process == NULL || !process->is_added) {
		ttrpc_refuse(call, process == NULL ? TTRPC_NOT_FOUND : TTRPC_FAILED_PRECONDITION, "exec '%s' %s", exec_id,
			     process == NULL ? "does not exist" : "was started already");
		return;
	}
	if (container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "container '%s' has ended", container->dir.id);
		return;
	}
	ttrpc_call_begin(call);
	if (fifos_open(process, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	call->user = process;
	container_exec(process, NULL, 0, exec_started, call);
}

static void handle_start(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__StartRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);

	if (container == NULL || deferred_add(container, call, message))
		return;
	if (request->exec_id[0] != '\0') {
		start_exec(call, container, request->exec_id);
		return;
	}
	if (call->was_begun && container->record->state != HYDRA__V1__CONTAINER_STATE__STATE_CREATED) {
		reply_start(call, container->init);
		return;
	}
	ttrpc_call_begin(call);
	container_start(container, started, call);
}

/* What is to be started is on disk before anybody is told that it may be. */
static int add_exec(struct container *container, const Containerd__Task__ExecRequest *request, struct error *err)
{
	auto_free char *json_path = text_format("%s/%s.json", container->dir.path, request->exec_id);
	const Containerd__Task__Any *spec = request->spec;
	struct process *process;
	int r = file_replace_fast(AT_FDCWD, json_path, spec->value.data, spec->value.len, 0600, err);

	if (r < 0)
		return r;
	process = process_new(container, request->exec_id);
	if (process == NULL)
		return fail_errno(err, ENOMEM, "exec '%s'", request->exec_id);
	process->is_added = true;
	process->is_terminal = request->terminal;
	process->open_stdin = request->stdin[0] != '\0' && !request->terminal;
	process->stdio_names[0] = text_copy(request->stdin);
	process->stdio_names[1] = text_copy(request->stdout);
	process->stdio_names[2] = text_copy(request->stderr);
	r = container_list_execs(container, err);
	if (r == 0)
		r = container_save(container, err);
	if (r < 0)
		process_free(process);
	else
		container_note(container, "exec-added", process, CONTAINERD_DETAIL);
	return r;
}

static bool check_exec(struct ttrpc_call *call, const Containerd__Task__ExecRequest *request)
{
	const char *names[] = {request->stdin, request->stdout, request->stderr};
	struct error err;

	if (id_check("exec id", request->exec_id, &err) < 0 || request->spec == NULL) {
		ttrpc_refuse(call, TTRPC_INVALID_ARGUMENT, "exec '%s': expected an id and a process", request->exec_id);
		return false;
	}
	for (int i = 0; i < 3; i++) {
		if (scheme_of_file(names[i]) == NULL)
			continue;
		ttrpc_refuse(call, TTRPC_INVALID_ARGUMENT, "exec '%s': stdio '%s': expected a FIFO", request->exec_id, names[i]);
		return false;
	}
	return true;
}

static void handle_exec(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__ExecRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct error err;

	if (container == NULL || deferred_add(container, call, message) || !check_exec(call, request))
		return;
	if (container_find(container, request->exec_id) != NULL && !call->was_begun) {
		ttrpc_refuse(call, TTRPC_ALREADY_EXISTS, "exec '%s' exists", request->exec_id);
		return;
	}
	ttrpc_call_begin(call);
	if (container_find(container, request->exec_id) == NULL && add_exec(container, request, &err) < 0)
		ttrpc_refuse_error(call, &err);
	else
		ttrpc_reply_empty(call);
}

/* exit: NULL, it was never started. */
static void reply_delete(struct ttrpc_call *call, pid_t pid, const exit_record *exit)
{
	Containerd__Task__DeleteResponse response = CONTAINERD__TASK__DELETE_RESPONSE__INIT;
	Containerd__Task__Timestamp exited_at;

	containerd_timestamp(exit != NULL ? exit->finished_ns : 0, &exited_at);
	response.pid = (uint32_t) pid;
	response.exit_status = exit == NULL ? 0 : exit->is_known ? exit->exit_code : 255;
	response.exited_at = &exited_at;
	ttrpc_reply(call, &response.base);
}

/* A predecessor forgot the exec, and may not have answered. */
static bool is_deleted_already(struct ttrpc_call *call, struct container *container, const char *exec_id)
{
	auto_message exit_record *exit = NULL;
	struct error ignored;

	if (!call->was_begun || exec_id[0] == '\0' || container_find(container, exec_id) != NULL)
		return false;
	(void) exit_record_load(container->dir.fd, exec_id, &exit, &ignored);
	reply_delete(call, exit != NULL ? exit->pid : 0, exit);
	return true;
}

static void forget_delete(struct ttrpc_call *call)
{
	struct process *process = call->user;

	process->delete_call = NULL;
	ttrpc_reply_empty(call);
}

static void handle_delete(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__DeleteRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct containerd *self = shim_of(call)->containerd;
	struct process *process;
	struct error ignored;

	if (container == NULL || deferred_add(container, call, message) || is_deleted_already(call, container, request->exec_id))
		return;
	process = containerd_process(call, container, request->exec_id);
	if (process == NULL)
		return;
	if (process->delete_call != NULL) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "process '%s' of container '%s' is being deleted", request->exec_id, request->id);
		return;
	}
	if (process == container->init && container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_CREATED && !process->has_ended)
		(void) container_kill(container, process, SIGKILL, false, &ignored);
	else if (process->pid > 0 && !process->has_ended) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "%s '%s' runs: it must have ended first",
			     process == container->init ? "container" : "exec", process == container->init ? request->id : request->exec_id);
		return;
	}
	process->delete_call = call;
	call->user = process;
	call->on_abandoned = forget_delete;
	event_loop_arm(&self->shim->loop, &self->delete_timer, UNREAD_OUTPUT_NS);
	(void) containerd_progress(self->shim);
}

/* Nothing of it is left to be done but what nobody may ever do: read its output. */
static bool may_be_deleted(const struct process *process)
{
	const struct container *container = process->container;
	bool is_read = process_is_drained(process) && (process->log == NULL || !output_is_busy(process->log)) &&
		       fifos_fd(process, FIFO_STDOUT) < 0 && fifos_fd(process, FIFO_STDERR) < 0;

	if (process->is_added)
		return true;
	if (!process->has_ended || (process == container->init && (!container->is_cleaned || container->operation != NULL)))
		return false;
	return is_read || container->shim->containerd->delete_timer.due_ns == 0;
}

static void delete_process(struct process *process)
{
	struct container *container = process->container;
	struct ttrpc_call *call = process->delete_call;
	auto_message exit_record *exit = NULL;
	pid_t pid = process->pid;
	struct error err;

	process->delete_call = NULL;
	if (process == container->init) {
		/* by a predecessor, perhaps */
		if (!containerd_noted_last(container, "deleted"))
			container_note(container, "deleted", process, NULL);
		fault_point("shim.delete-noted");
		reply_delete(call, pid, process->exit);
		container->is_forgotten = true;
		return;
	}
	/* forgotten first: its id is free as soon as that is answered */
	exit = take_ptr(&process->exit);
	ttrpc_call_begin(call);
	if (container_forget_exec(process, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", container->dir.id, err.message);
	fault_point("shim.exec-forgotten");
	reply_delete(call, pid, exit);
}

static void remove_container(struct containerd *self, struct container *container)
{
	struct run_dir dir;
	struct error err;

	containerd_events_keep(self);
	self->is_removed = true;
	containerd_unmount_rootfs(container->record->bundle);
	container->record->state = HYDRA__V1__CONTAINER_STATE__STATE_REMOVING;
	if (container_save(container, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", container->dir.id, err.message);
	fault_point("shim.before-removal");
	if (run_dir_open(&dir, self->shim->root, self->shim->namespace, container->dir.id, &err) < 0 || run_dir_remove(&dir, &err) < 0)
		log_error("run directory not removed", "container=%s error=\"%s\"", container->dir.id, err.message);
}

bool containerd_progress(struct shim *shim)
{
	struct containerd *self = shim->containerd;
	struct container *container = shim_container(shim);
	struct process *next;

	for (struct process *process = container->processes; process != NULL; process = next) {
		next = process->next;
		if (process->has_ended && process_is_drained(process) && (process->log == NULL || output_count(process->log).pending == 0)) {
			if (fifos_are_unread(process, UNREAD_OUTPUT_NS))
				event_loop_arm(&shim->loop, &self->reader_timer, LOOK_AGAIN_NS);
			else
				fifos_close_output(process);
		}
		if (process->delete_call != NULL && may_be_deleted(process))
			delete_process(process);
	}
	if (container->is_forgotten && container->operation == NULL && !self->is_removed)
		remove_container(self, container);
	/* after an end of containerd between Delete and Shutdown nobody will ask for that */
	return self->is_removed && (self->is_told_to_end || shim->server.connections == NULL) && containerd_events_are_sent(self) &&
	       ttrpc_server_is_flushed(&shim->server);
}

void containerd_reply_wait(struct ttrpc_call *call, const exit_record *exit)
{
	Containerd__Task__WaitResponse response = CONTAINERD__TASK__WAIT_RESPONSE__INIT;
	Containerd__Task__Timestamp exited_at;

	containerd_timestamp(exit->finished_ns, &exited_at);
	response.exit_status = exit->is_known ? exit->exit_code : 255;
	response.exited_at = &exited_at;
	ttrpc_reply(call, &response.base);
}

/* With a container it is no more than a question. */
static void handle_shutdown(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct shim *shim = shim_of(call);
	struct container *container = shim_container(shim);
	bool was_never_made = container->init == NULL && container->operation == NULL;

	(void) message;
	ttrpc_reply_empty(call);
	if (!container->is_forgotten && !was_never_made)
		return;
	container->is_forgotten = true;
	shim->containerd->is_told_to_end = true;
	shim_consider_end(shim);
}

static void look_again(struct event_timer *timer)
{
	struct containerd *self = timer->context;

	shim_consider_end(self->shim);
}

int containerd_init(struct shim *shim, struct error *err)
{
	struct containerd *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return fail_errno(err, ENOMEM, "serve containerd");
	self->shim = shim;
	self->delete_timer = self->reader_timer = (struct event_timer){.handle = look_again, .context = self};
	shim->containerd = self;
	shim->server.further_methods = containerd_methods;
	containerd_events_init(self);
	return 0;
}

#define TASK(name_, request_, handler_)                                                                                            \
	{"containerd.task.v2.Task", name_, &containerd__task__##request_##__descriptor, handler_},                                 \
	{                                                                                                                          \
		"containerd.task.v3.Task", name_, &containerd__task__##request_##__descriptor, handler_                            \
	}

const struct ttrpc_method containerd_methods[] = {
	TASK("Create", create_request, handle_create),
	TASK("Start", start_request, handle_start),
	TASK("Exec", exec_request, handle_exec),
	TASK("Delete", delete_request, handle_delete),
	TASK("Shutdown", shutdown_request, handle_shutdown),
	TASK("State", state_request, containerd_handle_state),
	TASK("Kill", kill_request, containerd_handle_kill),
	TASK("Pause", id_request, containerd_handle_pause),
	TASK("Resume", id_request, containerd_handle_resume),
	TASK("Pids", id_request, containerd_handle_pids),
	TASK("ResizePty", resize_request, containerd_handle_resize),
	TASK("CloseIO", close_iorequest, containerd_handle_close_io),
	TASK("Update", update_request, containerd_handle_update),
	TASK("Wait", wait_request, containerd_handle_wait),
	TASK("Stats", id_request, containerd_handle_stats),
	TASK("Connect", id_request, containerd_handle_connect),
	{NULL, NULL, NULL, NULL},
};
