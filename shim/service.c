/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/service.h"

#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim.pb-c.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/containerd.h"
#include "shim/deferred.h"
#include "shim/health.h"
#include "shim/restart.h"
#include "shim/shim.h"
#include "shim/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENTS_AT_ONCE   128
#define SERVICE_NOT_OURS "it is a task of containerd, which makes and restarts it itself"

static struct container *container_of_call(struct ttrpc_call *call)
{
	return shim_container(call->server->context);
}

void service_answer(struct container *container, const struct error *err, void *context)
{
	struct ttrpc_call *call = context;

	(void) container;
	if (err->code < 0)
		ttrpc_refuse_error(call, err);
	else
		ttrpc_reply_empty(call);
}

/* A predecessor began it, and the container's state says that it is done: it is answered. */
static bool is_done_already(struct ttrpc_call *call, bool is_done)
{
	if (!call->was_begun || !is_done)
		return false;
	ttrpc_reply_empty(call);
	return true;
}

static void handle_create(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct container *container = container_of_call(call);

	if (container->record->containerd != NULL) {
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "create container '%s': " SERVICE_NOT_OURS, container->dir.id);
		return;
	}
	if (is_done_already(call, container->record->state != HYDRA__V1__CONTAINER_STATE__STATE_CREATING) || deferred_add(container, call, message))
		return;
	ttrpc_call_begin(call);
	container_create(container, service_answer, call);
}

static void handle_start(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct container *container = container_of_call(call);

	if (deferred_add(container, call, message) || is_done_already(call, container->record->state != HYDRA__V1__CONTAINER_STATE__STATE_CREATED))
		return;
	ttrpc_call_begin(call);
	if (container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_CREATED)
		restart_begin_anew(container);
	container_start(container, service_answer, call);
}

static void handle_pause(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct container *container = container_of_call(call);

	if (deferred_add(container, call, message) || is_done_already(call, container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_PAUSED))
		return;
	ttrpc_call_begin(call);
	container_pause(container, service_answer, call);
}

static void handle_resume(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct container *container = container_of_call(call);

	if (deferred_add(container, call, message) || is_done_already(call, container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_RUNNING))
		return;
	ttrpc_call_begin(call);
	container_resume(container, service_answer, call);
}

static void handle_state(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct container *container = container_of_call(call);
	Hydra__V1__StateResponse response = HYDRA__V1__STATE_RESPONSE__INIT;
	Hydra__V1__ProcessStatus statuses[64];
	Hydra__V1__ProcessStatus *pointers[64];
	char version[] = HYDRA_VERSION;

	(void) message;
	response.record = container->record;
	response.exit = container->init != NULL ? container->init->exit : NULL;
	response.shim_pid = (uint32_t) getpid();
	response.shim_version = version;
	response.processes = pointers;
	for (struct process *process = container->processes; process != NULL && response.n_processes < 64;
	     process = process->next) {
		Hydra__V1__ProcessStatus *status = &statuses[response.n_processes];

		hydra__v1__process_status__init(status);
		status->exec_id = process->exec_id;
		status->pid = process->pid;
		status->has_exited = process->has_ended;
		status->exit = process->exit;
		pointers[response.n_processes++] = status;
	}
	ttrpc_reply(call, &response.base);
}

static struct process *find_process(struct ttrpc_call *call, const char *exec_id)
{
	struct process *process = container_find(container_of_call(call), exec_id);

	if (process == NULL)
		ttrpc_refuse(call, TTRPC_NOT_FOUND, exec_id[0] != '\0' ? "no exec '%s'" : "the container was not created yet%s",
			     exec_id);
	return process;
}

bool service_answer_signal_again(struct ttrpc_call *call, const struct process *process, int signal_number)
{
	if (signal_number == SIGKILL && !process->has_ended)
		return false;
	if (signal_number == SIGKILL)
		ttrpc_reply_empty(call);
	else
		ttrpc_refuse(call, TTRPC_ABORTED, "the shim died as it was about to send signal %d: it may have been sent", signal_number);
	return true;
}

static void handle_kill(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__KillRequest *request = (const void *) message;
	struct process *process = find_process(call, request->exec_id);
	struct error err = ERROR_NONE;

	if (process == NULL || (call->was_begun && service_answer_signal_again(call, process, (int) request->signal)))
		return;
	ttrpc_call_begin(call);
	(void) container_kill(process->container, process, (int) request->signal, request->all, &err);
	service_answer(process->container, &err, call);
}

static void reply_exit(struct ttrpc_call *call, exit_record *exit)
{
	Hydra__V1__WaitResponse response = HYDRA__V1__WAIT_RESPONSE__INIT;

	if (text_has_prefix(call->method->service, "containerd.")) {
		containerd_reply_wait(call, exit);
		return;
	}
	response.exit = exit;
	ttrpc_reply(call, &response.base);
}

static void forget_waiting(struct ttrpc_call *call)
{
	struct process *process = call->user;

	for (struct ttrpc_call **link = &process->waiting; *link != NULL; link = &(*link)->waiting_next) {
		if (*link == call) {
			*link = call->waiting_next;
			break;
		}
	}
	ttrpc_reply_empty(call);
}

void service_wait_for(struct ttrpc_call *call, struct process *process)
{
	if (process->has_ended) {
		reply_exit(call, process->exit);
		return;
	}
	call->user = process;
	call->on_abandoned = forget_waiting;
	call->waiting_next = process->waiting;
	process->waiting = call;
}

void service_answer_waiting(struct process *process)
{
	while (process->waiting != NULL) {
		struct ttrpc_call *call = process->waiting;

		process->waiting = call->waiting_next;
		reply_exit(call, process->exit);
	}
}

static void handle_wait(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__WaitRequest *request = (const void *) message;
	struct container *container = container_of_call(call);
	struct process *process = container_find(container, request->exec_id);
	exit_record *exit = NULL;
	struct error ignored;

	if (process != NULL)
		service_wait_for(call, process);
	else if (request->exec_id[0] != '\0' && id_check("exec id", request->exec_id, &ignored) == 0 &&
		 exit_record_load(container->dir.fd, request->exec_id, &exit, &ignored) == 0)
		reply_exit(call, exit); /* it is over and forgotten here */
	else
		(void) find_process(call, request->exec_id);
	message_free(exit);
}

/* The runtime is making it: nothing is there to be signalled. What its restart policy makes will not be started (shim/restart.c). */
static bool is_stopped_when_made(struct container *container, struct ttrpc_call *call, const ProtobufCMessage *message)
{
	if (container->init->pid > 0 || container->init->has_ended || container->operation == NULL || !deferred_hold(container, call, message))
		return false;
	container->record->stop_was_asked = true;
	return true;
}

static void handle_stop(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__StopRequest *request = (const void *) message;
	struct container *container = container_of_call(call);
	struct error err = ERROR_NONE;

	if (find_process(call, "") == NULL || is_stopped_when_made(container, call, message))
		return;
	/* a shim that was killed may not have sent the signal: twice is better than never, unless the time-out came here by an upgrade */
	if (!call->was_begun || !container_is_stopping(container)) {
		ttrpc_call_begin(call);
		(void) container_stop(container, request->timeout_s, request->signal, &err);
	}
	if (err.code < 0)
		ttrpc_refuse_error(call, &err);
	else
		service_wait_for(call, container->init);
	shim_consider_end(container->shim); /* it may have waited for nothing but its restart */
}

static void exec_answer(struct container *container, const struct error *err, void *context)
{
	Hydra__V1__ExecResponse response = HYDRA__V1__EXEC_RESPONSE__INIT;
	struct ttrpc_call *call = context;
	struct process *process = call->user;

	(void) container;
	if (err->code < 0) {
		ttrpc_refuse_error(call, err);
		return;
	}
	response.pid = process->pid;
	ttrpc_reply(call, &response.base);
}

/* A predecessor began it, and it came to something. */
static bool is_exec_answered(struct ttrpc_call *call, struct container *container, const char *exec_id)
{
	Hydra__V1__ExecResponse response = HYDRA__V1__EXEC_RESPONSE__INIT;
	const struct process *process = container_find(container, exec_id);
	exit_record *exit = NULL;
	struct error ignored;

	if (process != NULL)
		response.pid = process->pid;
	else if (exit_record_load(container->dir.fd, exec_id, &exit, &ignored) == 0)
		response.pid = exit->pid;
	message_free(exit);
	if (response.pid > 0)
		ttrpc_reply(call, &response.base);
	return response.pid > 0;
}

static void handle_exec(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__ExecRequest *request = (const void *) message;
	struct container *container = container_of_call(call);
	struct process *process;
	struct error err;

	if (deferred_add(container, call, message))
		return;
	if (id_check("exec id", request->exec_id, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	if (call->was_begun && is_exec_answered(call, container, request->exec_id))
		return;
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
	process->open_stdin = request->open_stdin;
	process->waits_for_client = request->wait_for_attach;
	call->user = process;
	ttrpc_call_begin(call);
	container_exec(process, request->process_json.data, request->process_json.len, exec_answer, call);
}

static void handle_attach(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__AttachRequest *request = (const void *) message;
	Hydra__V1__Empty response = HYDRA__V1__EMPTY__INIT;
	struct process *process = find_process(call, request->exec_id);
	bool is_direct = request->input && request->direct_input;
	struct client *client;
	struct error err;

	if (process == NULL)
		return;
	if (ttrpc_call_fd(call) < 0) {
		ttrpc_call_hang_up(call);
		return;
	}
	if (client_join(&client, process, ttrpc_call_fd(call), request->input, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	client_begin(client, ttrpc_take_over(call, &response.base, is_direct ? process_input_fd(process) : FD_NONE));
	if (request->width > 0 && request->height > 0)
		process_resize(process, request->width, request->height);
	process->waits_for_client = false;
	process_resume_output(process);
	if (process->has_ended && process_is_drained(process))
		clients_end(process);
}

static void handle_resize(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__ResizeRequest *request = (const void *) message;
	struct process *process = find_process(call, request->exec_id);

	if (process == NULL)
		return;
	process_resize(process, request->width, request->height);
	ttrpc_reply_empty(call);
}

static void handle_stats(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	Hydra__V1__StatsResponse response = HYDRA__V1__STATS_RESPONSE__INIT;
	struct process *process = find_process(call, "");
	struct output_counters counters = {0};

	(void) message;
	if (process == NULL)
		return;
	response.time_ns = clock_realtime_ns();
	cgroup_stats(&process->container->cgroup, &response);
	if (process->log != NULL)
		counters = output_count(process->log);
	response.log_bytes = counters.written;
	response.log_dropped_bytes = counters.dropped;
	response.log_spilled_bytes = counters.pending;
	response.log_read_bytes = counters.read;
	response.log_counts_are_partial = counters.is_partial;
	if (counters.problem != NULL)
		response.log_problem = (char *) (uintptr_t) counters.problem;
	ttrpc_reply(call, &response.base);
}

struct event_list {
	Hydra__V1__Event *items[EVENTS_AT_ONCE];
	size_t count;
};

static bool collect_event(const event *entry, void *context)
{
	struct event_list *list = context;

	list->items[list->count] = (event *) (void *) message_copy(&entry->base);
	if (list->items[list->count] != NULL)
		list->count++;
	return list->count < EVENTS_AT_ONCE;
}

static void forget_waiting_events(struct ttrpc_call *call)
{
	struct container *container = container_of_call(call);

	for (struct ttrpc_call **link = &container->waiting_events; *link != NULL; link = &(*link)->waiting_next) {
		if (*link == call) {
			*link = call->waiting_next;
			break;
		}
	}
	ttrpc_reply_empty(call);
}

/* Called again, without a message, when there is a new event for a call that waits. */
static void handle_events(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__EventsRequest *request = (const void *) message;
	struct container *container = container_of_call(call);
	Hydra__V1__EventsResponse response = HYDRA__V1__EVENTS_RESPONSE__INIT;
	struct event_list list = {.count = 0};
	struct error err = ERROR_NONE;

	if (request != NULL)
		call->user = (void *) (uintptr_t) request->since;
	if (journal_replay(container->dir.fd, (uint64_t) (uintptr_t) call->user, collect_event, &list, &err) < 0) {
		ttrpc_refuse_error(call, &err);
	} else if (list.count == 0 && request != NULL && request->wait) {
		call->on_abandoned = forget_waiting_events;
		call->waiting_next = container->waiting_events;
		container->waiting_events = call;
	} else {
		response.events = list.items;
		response.n_events = list.count;
		response.oldest = list.count > 0 ? list.items[0]->sequence : 0;
		ttrpc_reply(call, &response.base);
	}
	for (size_t i = 0; i < list.count; i++)
		message_free(list.items[i]);
}

static void handle_update(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__UpdateRequest *request = (const void *) message;
	struct container *container = container_of_call(call);
	Hydra__V1__RestartPolicy *policy;
	struct error err = ERROR_NONE;

	if (request->restart != NULL && container->record->containerd != NULL)
		(void) fail_because(&err, EOPNOTSUPP, "restart policy of container '%s': " SERVICE_NOT_OURS, container->dir.id);
	if (err.code == 0 && request->log != NULL)
		(void) container_update_log(container, request->log, &err);
	if (err.code == 0 && request->restart != NULL) {
		policy = (Hydra__V1__RestartPolicy *) (void *) message_copy(&request->restart->base);
		message_free(container->record->restart);
		container->record->restart = policy;
	}
	if (err.code == 0 && request->health_check != NULL)
		(void) health_update(container, request->health_check, &err);
	if (err.code == 0)
		(void) container_save(container, &err);
	service_answer(container, &err, call);
}

#define SHIM(name_, request_, handler_) {"hydra.v1.Shim", name_, &hydra__v1__##request_##__descriptor, handler_}

const struct ttrpc_method service_methods[] = {
	SHIM("State", empty, handle_state),
	SHIM("Create", empty, handle_create),
	SHIM("Start", empty, handle_start),
	SHIM("Kill", kill_request, handle_kill),
	SHIM("Stop", stop_request, handle_stop),
	SHIM("Exec", exec_request, handle_exec),
	SHIM("Wait", wait_request, handle_wait),
	SHIM("Attach", attach_request, handle_attach),
	SHIM("Resize", resize_request, handle_resize),
	SHIM("Pause", empty, handle_pause),
	SHIM("Resume", empty, handle_resume),
	SHIM("Stats", empty, handle_stats),
	SHIM("Events", events_request, handle_events),
	SHIM("Update", update_request, handle_update),
	SHIM("Upgrade", upgrade_request, upgrade_ask),
	SHIM("Checkpoint", checkpoint_request, service_checkpoint),
	SHIM("MigrationBegin", migration_begin_request, service_migration_begin),
	SHIM("MigrationEnd", migration_end_request, service_migration_end),
	{NULL, NULL, NULL, NULL},
};
