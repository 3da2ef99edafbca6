/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd.task.v2.Task and containerd.task.v3.Task: the life of tasks. What only looks is in containerd_query.c.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/containerd.h"
#include "shim/containerd_query.h"
#include "shim/deferred.h"
#include "shim/fifo.h"
#include "shim/shim.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct shim *shim_of(struct ttrpc_call *call)
{
	return call->server->context;
}

/* "OCI runtime create failed: ..." is what Docker and Kubernetes look for. */
static void refuse_oci(struct ttrpc_call *call, const char *what, const struct error *err)
{
	ttrpc_refuse(call, TTRPC_UNKNOWN, "OCI runtime %s failed: %s", what, err->message);
}

static record *new_record(const Containerd__Task__CreateRequest *request, const char *namespace)
{
	record empty = HYDRA__V1__CONTAINER_RECORD__INIT;
	auto_record *self = (record *) (void *) message_copy(&empty.base);

	if (self == NULL || !message_set_string(&self->id, request->id) || !message_set_string(&self->bundle, request->bundle) ||
	    !message_set_string(&self->namespace_, namespace))
		return NULL;
	self->version = RECORD_VERSION;
	self->state = HYDRA__V1__CONTAINER_STATE__STATE_CREATING;
	self->created_ns = clock_realtime_ns();
	self->terminal = request->terminal;
	self->open_stdin = request->stdin[0] != '\0' && !request->terminal;
	return take_ptr(&self);
}

static int make_container(struct ttrpc_call *call, const Containerd__Task__CreateRequest *request, struct container **ret_container,
			  struct error *err)
{
	struct shim *shim = shim_of(call);
	auto_record *new = new_record(request, shim->namespace);
	struct run_dir dir;
	int r = new == NULL ? fail_errno(err, ENOMEM, "create '%s'", request->id)
			    : run_dir_create(&dir, shim->root, shim->namespace, request->id, err);

	if (r < 0)
		return r;
	r = record_save(dir.fd, new, err);
	if (r == 0)
		r = container_open(ret_container, shim, request->id, err);
	if (r < 0)
		(void) run_dir_remove(&dir, &(struct error){0});
	else
		run_dir_close(&dir);
	return r;
}

static void forget_container(struct container *container)
{
	struct run_dir dir;
	struct error ignored;

	containerd_unmount_rootfs(container->record->bundle);
	if (run_dir_open(&dir, container->shim->root, container->shim->namespace, container->dir.id, &ignored) == 0)
		(void) run_dir_remove(&dir, &ignored);
	container_free(container);
}

static void publish_create(struct container *container)
{
	Containerd__Task__TaskCreate notice = CONTAINERD__TASK__TASK_CREATE__INIT;
	Containerd__Task__TaskIO io = CONTAINERD__TASK__TASK_IO__INIT;

	io.stdin = container->names[0];
	io.stdout = container->names[1];
	io.stderr = container->names[2];
	io.terminal = container->record->terminal;
	notice.container_id = container->dir.id;
	notice.bundle = container->record->bundle;
	notice.io = &io;
	notice.pid = (uint32_t) container->record->pid;
	containerd_publish(container->shim->containerd, "/tasks/create", "containerd.events.TaskCreate", &notice.base);
}

static void created(struct container *container, const struct error *err, void *context)
{
	struct ttrpc_call *call = context;
	Containerd__Task__CreateResponse response = CONTAINERD__TASK__CREATE_RESPONSE__INIT;

	if (err->code < 0) {
		refuse_oci(call, "create", err);
		container->is_forgotten = true; /* containerd_progress() frees it: its caller still uses it */
		return;
	}
	publish_create(container);
	response.pid = (uint32_t) container->record->pid;
	ttrpc_reply(call, &response.base);
}

static void handle_create(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__CreateRequest *request = (const void *) message;
	struct container *container;
	struct error err = ERROR_NONE;
	int r = containerd_mount_rootfs(request, &err);

	if (r == 0) {
		r = make_container(call, request, &container, &err);
		if (r < 0)
			containerd_unmount_rootfs(request->bundle);
	}
	if (r < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	container->names[0] = text_copy(request->stdin);
	container->names[1] = text_copy(request->stdout);
	container->names[2] = text_copy(request->stderr);
	container_create(container, created, call);
}

static void started(struct container *container, const struct error *err, void *context)
{
	struct ttrpc_call *call = context;
	Containerd__Task__StartResponse response = CONTAINERD__TASK__START_RESPONSE__INIT;

	if (err->code < 0) {
		refuse_oci(call, "start", err);
		return;
	}
	response.pid = (uint32_t) container->init->pid;
	ttrpc_reply(call, &response.base);
}

static void exec_started(struct container *container, const struct error *err, void *context)
{
	struct ttrpc_call *call = context;
	Containerd__Task__StartResponse response = CONTAINERD__TASK__START_RESPONSE__INIT;
	struct process *process = call->user;

	(void) container;
	if (err->code < 0) {
		refuse_oci(call, "exec", err);
		return;
	}
	response.pid = (uint32_t) process->pid;
	ttrpc_reply(call, &response.base);
}

static void start_exec(struct ttrpc_call *call, struct container *container, const char *exec_id)
{
	struct process *process = container_find(container, exec_id);
	auto_free uint8_t *spec = NULL;
	struct error err;
	size_t size;

	if (process == NULL || process->spec == NULL) {
		ttrpc_refuse(call, process == NULL ? TTRPC_NOT_FOUND : TTRPC_FAILED_PRECONDITION, "exec '%s' %s", exec_id,
			     process == NULL ? "does not exist" : "was started already");
		return;
	}
	if (container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "container '%s' has ended", container->dir.id);
		return;
	}
	if (fifos_open(process, process->names[0], process->names[1], process->names[2], &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	spec = take_ptr(&process->spec);
	size = process->spec_size;
	call->user = process;
	container_exec(process, spec, size, exec_started, call);
}

static void handle_start(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__StartRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);

	if (container == NULL || deferred_add(container, call, message))
		return;
	if (request->exec_id[0] != '\0')
		start_exec(call, container, request->exec_id);
	else
		container_start(container, started, call);
}

static void publish_exec_added(struct container *container, const char *exec_id)
{
	Containerd__Task__TaskExec notice = CONTAINERD__TASK__TASK_EXEC__INIT;

	notice.container_id = container->dir.id;
	notice.exec_id = (char *) (uintptr_t) exec_id;
	containerd_publish(container->shim->containerd, "/tasks/exec-added", "containerd.events.TaskExecAdded", &notice.base);
}

static void handle_exec(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__ExecRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct process *process;
	struct error err;

	if (container == NULL)
		return;
	if (id_check("exec id", request->exec_id, &err) < 0 || request->spec == NULL) {
		ttrpc_refuse(call, TTRPC_INVALID_ARGUMENT, "exec '%s': expected an id and a process", request->exec_id);
		return;
	}
	if (container_find(container, request->exec_id) != NULL) {
		ttrpc_refuse(call, TTRPC_ALREADY_EXISTS, "exec '%s' exists", request->exec_id);
		return;
	}
	process = process_new(container, request->exec_id);
	if (process == NULL) {
		ttrpc_refuse(call, TTRPC_RESOURCE_EXHAUSTED, "no memory");
		return;
	}
	process->is_terminal = request->terminal;
	process->open_stdin = request->stdin[0] != '\0' && !request->terminal;
	process->names[0] = text_copy(request->stdin);
	process->names[1] = text_copy(request->stdout);
	process->names[2] = text_copy(request->stderr);
	process->spec_size = request->spec->value.len;
	process->spec = malloc(process->spec_size + 1);
	if (process->spec != NULL && process->spec_size > 0)
		memcpy(process->spec, request->spec->value.data, process->spec_size);
	publish_exec_added(container, request->exec_id);
	ttrpc_reply_empty(call);
}

static void reply_delete(struct ttrpc_call *call, const struct process *process)
{
	Containerd__Task__DeleteResponse response = CONTAINERD__TASK__DELETE_RESPONSE__INIT;
	Containerd__Task__Timestamp exited_at;

	containerd_timestamp(process->exit != NULL ? process->exit->finished_ns : 0, &exited_at);
	response.pid = (uint32_t) process->pid;
	response.exit_status = process->exit == NULL ? 0 : process->exit->is_known ? process->exit->exit_code : 255;
	response.exited_at = &exited_at;
	ttrpc_reply(call, &response.base);
}

static void publish_delete(struct container *container)
{
	Containerd__Task__TaskDelete notice = CONTAINERD__TASK__TASK_DELETE__INIT;
	Containerd__Task__Timestamp exited_at;
	const struct process *init = container->init;

	containerd_timestamp(init->exit != NULL ? init->exit->finished_ns : 0, &exited_at);
	notice.container_id = container->dir.id;
	notice.pid = (uint32_t) init->pid;
	notice.exit_status = init->exit == NULL ? 0 : init->exit->is_known ? init->exit->exit_code : 255;
	notice.exited_at = &exited_at;
	containerd_publish(container->shim->containerd, "/tasks/delete", "containerd.events.TaskDelete", &notice.base);
}

static void delete_init(struct ttrpc_call *call, struct container *container)
{
	struct error err;

	if (container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_CREATED && !container->init->has_ended)
		(void) container_kill(container, container->init, SIGKILL, false, &err);
	else if (container->record->state != HYDRA__V1__CONTAINER_STATE__STATE_STOPPED) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "container '%s' is %s: it must be stopped first", container->dir.id,
			     state_name(container->record->state));
		return;
	}
	container->delete_call = call;
	containerd_progress(shim_of(call));
}

static void handle_delete(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__DeleteRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct process *process = container != NULL ? containerd_process(call, container, request->exec_id) : NULL;

	if (process == NULL)
		return;
	if (request->exec_id[0] == '\0') {
		delete_init(call, container);
	} else if (process->pid > 0 && !process->has_ended) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "exec '%s' runs: it must have ended first", request->exec_id);
	} else {
		reply_delete(call, process);
		process_free(process);
	}
}

void containerd_progress(struct shim *shim)
{
	struct container *next;

	for (struct container *container = shim->containers; container != NULL; container = next) {
		struct ttrpc_call *call = container->delete_call;

		next = container->next;
		if (container->operation != NULL)
			continue;
		if (call != NULL && container->init->has_ended && container->is_cleaned && process_is_drained(container->init)) {
			container->delete_call = NULL;
			publish_delete(container);
			reply_delete(call, container->init);
			container->is_forgotten = true;
		}
		if (container->is_forgotten)
			forget_container(container);
	}
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

static void handle_shutdown(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct shim *shim = shim_of(call);

	(void) message;
	ttrpc_reply_empty(call);
	shim->containerd->shutdown_asked = shim->containers == NULL;
	shim_consider_end(shim);
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
