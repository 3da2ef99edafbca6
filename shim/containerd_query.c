/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/containerd_query.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/containerd.h"
#include "shim/deferred.h"
#include "shim/fifo.h"
#include "shim/service.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIDS_MAX    4096
#define STATE(name) HYDRA__V1__CONTAINER_STATE__STATE_##name

struct container *containerd_container(struct ttrpc_call *call, const char *id)
{
	struct shim *shim = call->server->context;
	struct container *container = shim_container(shim);

	containerd_events_retry(shim->containerd);
	if (strcmp(container->dir.id, id) == 0 && container->init != NULL && !container->is_forgotten)
		return container;
	ttrpc_refuse(call, TTRPC_NOT_FOUND, "container '%s' does not exist", id);
	return NULL;
}

struct process *containerd_process(struct ttrpc_call *call, struct container *container, const char *exec_id)
{
	struct process *process = container_find(container, exec_id);

	if (process == NULL)
		ttrpc_refuse(call, TTRPC_NOT_FOUND, "process '%s' of container '%s' does not exist", exec_id, container->dir.id);
	return process;
}

static Containerd__Task__Status status_of(const struct container *container, const struct process *process)
{
	if (process->has_ended)
		return CONTAINERD__TASK__STATUS__STOPPED;
	if (!process->has_started)
		return CONTAINERD__TASK__STATUS__CREATED;
	if (container->record->state == HYDRA__V1__CONTAINER_STATE__STATE_PAUSED)
		return CONTAINERD__TASK__STATUS__PAUSED;
	return CONTAINERD__TASK__STATUS__RUNNING;
}

static char *name_of(char *const *names, int number)
{
	return names[number] != NULL ? names[number] : (char *) (uintptr_t) protobuf_c_empty_string;
}

void containerd_handle_state(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__StateRequest *request = (const void *) message;
	Containerd__Task__StateResponse response = CONTAINERD__TASK__STATE_RESPONSE__INIT;
	struct container *container = containerd_container(call, request->id);
	struct process *process = container != NULL ? containerd_process(call, container, request->exec_id) : NULL;
	Containerd__Task__Timestamp exited_at;

	if (process == NULL)
		return;
	containerd_timestamp(process->exit != NULL ? process->exit->finished_ns : 0, &exited_at);
	response.id = request->exec_id[0] != '\0' ? request->exec_id : request->id;
	response.bundle = container->record->bundle;
	response.pid = (uint32_t) process->pid;
	response.status = status_of(container, process);
	response.stdin = name_of(process->stdio_names, 0);
	response.stdout = name_of(process->stdio_names, 1);
	response.stderr = name_of(process->stdio_names, 2);
	response.terminal = process->is_terminal;
	response.exit_status = process->exit == NULL ? 0 : process->exit->is_known ? process->exit->exit_code : 255;
	response.exited_at = &exited_at;
	response.exec_id = request->exec_id;
	ttrpc_reply(call, &response.base);
}

void containerd_handle_kill(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__KillRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct process *process = container != NULL ? containerd_process(call, container, request->exec_id) : NULL;
	struct error err = ERROR_NONE;

	if (process == NULL || (call->was_begun && service_answer_signal_again(call, process, (int) request->signal)))
		return;
	ttrpc_call_begin(call);
	if (process->pid == 0)
		ttrpc_refuse(call, TTRPC_FAILED_PRECONDITION, "process not created");
	else if (container_kill(container, process, (int) request->signal, request->all, &err) < 0)
		ttrpc_refuse_error(call, &err);
	else
		ttrpc_reply_empty(call);
}

static void answer(struct container *container, const struct error *err, void *context)
{
	struct ttrpc_call *call = context;

	(void) container;
	if (err->code < 0)
		ttrpc_refuse(call, TTRPC_UNKNOWN, "%s", err->message);
	else
		ttrpc_reply_empty(call);
}

/* By a predecessor. */
static bool is_done_already(struct ttrpc_call *call, const struct container *container, Hydra__V1__ContainerState wanted)
{
	if (!call->was_begun || container->record->state != wanted)
		return false;
	ttrpc_reply_empty(call);
	return true;
}

void containerd_handle_pause(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct container *container = containerd_container(call, ((const Containerd__Task__IdRequest *) (const void *) message)->id);

	if (container == NULL || deferred_add(container, call, message) || is_done_already(call, container, STATE(PAUSED)))
		return;
	ttrpc_call_begin(call);
	container_pause(container, answer, call);
}

void containerd_handle_resume(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	struct container *container = containerd_container(call, ((const Containerd__Task__IdRequest *) (const void *) message)->id);

	if (container == NULL || deferred_add(container, call, message) || is_done_already(call, container, STATE(RUNNING)))
		return;
	ttrpc_call_begin(call);
	container_resume(container, answer, call);
}

/* The pids of the container's group, one a line. */
static char *read_pids(const struct container *container)
{
	auto_free char *path = text_format("%s/cgroup.procs", container->cgroup.pids);
	char *data = NULL;
	struct error ignored;

	if (container->cgroup.pids[0] == '\0' || file_read(AT_FDCWD, path, 1U << 20, &data, NULL, &ignored) < 0)
		return NULL;
	return data;
}

void containerd_handle_pids(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__IdRequest *request = (const void *) message;
	Containerd__Task__PidsResponse response = CONTAINERD__TASK__PIDS_RESPONSE__INIT;
	struct container *container = containerd_container(call, request->id);
	auto_free char *data = NULL;
	auto_free Containerd__Task__ProcessInfo *items = NULL;
	auto_free Containerd__Task__ProcessInfo **pointers = NULL;
	char *rest;

	if (container == NULL)
		return;
	data = rest = read_pids(container);
	items = calloc(PIDS_MAX, sizeof(*items));
	pointers = calloc(PIDS_MAX, sizeof(*pointers));
	for (char *line = strsep(&rest, "\n"); line != NULL && items != NULL && pointers != NULL && response.n_processes < PIDS_MAX;
	     line = strsep(&rest, "\n")) {
		Containerd__Task__ProcessInfo *item = &items[response.n_processes];

		if (line[0] == '\0')
			continue;
		containerd__task__process_info__init(item);
		item->pid = (uint32_t) strtoul(line, NULL, 10);
		pointers[response.n_processes++] = item;
	}
	response.processes = pointers;
	ttrpc_reply(call, &response.base);
}

void containerd_handle_resize(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__ResizeRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct process *process = container != NULL ? containerd_process(call, container, request->exec_id) : NULL;

	if (process == NULL)
		return;
	process_resize(process, request->width, request->height);
	ttrpc_reply_empty(call);
}

void containerd_handle_close_io(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__CloseIORequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct process *process = container != NULL ? containerd_process(call, container, request->exec_id) : NULL;

	if (process == NULL)
		return;
	if (request->stdin)
		fifos_close_input(process);
	ttrpc_reply_empty(call);
}

struct update {
	struct ttrpc_call *call;
	struct container *container;
};

static void updated(struct shim *shim, int exit_status, void *context)
{
	struct update *update = context;
	struct error err;

	(void) shim;
	if (exit_status != 0) {
		(void) runtime_failure(update->container, "update", exit_status, &err);
		ttrpc_refuse(update->call, TTRPC_UNKNOWN, "%s", err.message);
	} else {
		ttrpc_reply_empty(update->call);
	}
	free(update);
}

void containerd_handle_update(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__UpdateRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	auto_free char *path = container != NULL ? run_dir_path(&container->dir, "resources.json") : NULL;
	const char *arguments[] = {"--resources", path, request->id, NULL};
	struct update *update;
	struct error err;
	int r;

	if (container == NULL)
		return;
	if (request->resources == NULL) {
		ttrpc_refuse(call, TTRPC_INVALID_ARGUMENT, "update of '%s': expected resources", request->id);
		return;
	}
	update = calloc(1, sizeof(*update));
	r = update == NULL ? fail_errno(&err, ENOMEM, "update '%s'", request->id)
			   : file_replace_fast(AT_FDCWD, path, request->resources->value.data, request->resources->value.len, 0600, &err);
	if (r == 0) {
		*update = (struct update){call, container};
		r = runtime_start(container, "update", arguments, NULL, 0, updated, update, &err);
	}
	if (r < 0) {
		free(update);
		ttrpc_refuse_error(call, &err);
	}
}

void containerd_handle_wait(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__WaitRequest *request = (const void *) message;
	struct container *container = containerd_container(call, request->id);
	struct process *process = container != NULL ? containerd_process(call, container, request->exec_id) : NULL;

	if (process != NULL)
		service_wait_for(call, process);
}

static void reply_stats(struct ttrpc_call *call, const char *type, const ProtobufCMessage *metrics)
{
	Containerd__Task__StatsResponse response = CONTAINERD__TASK__STATS_RESPONSE__INIT;
	Containerd__Task__Any any = CONTAINERD__TASK__ANY__INIT;
	auto_free uint8_t *data = NULL;
	struct error err;
	size_t size;

	if (message_encode(metrics, &data, &size, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	any.type_url = (char *) (uintptr_t) type;
	any.value = (ProtobufCBinaryData){.data = data, .len = size};
	response.stats = &any;
	ttrpc_reply(call, &response.base);
}

static void reply_stats_v1(struct ttrpc_call *call, const Hydra__V1__StatsResponse *stats, Containerd__Task__PidsStat *pids)
{
	Containerd__Task__MetricsV1 metrics = CONTAINERD__TASK__METRICS_V1__INIT;
	Containerd__Task__CpuUsageV1 usage = CONTAINERD__TASK__CPU_USAGE_V1__INIT;
	Containerd__Task__CpuStatV1 cpu = CONTAINERD__TASK__CPU_STAT_V1__INIT;
	Containerd__Task__MemoryEntryV1 entry = CONTAINERD__TASK__MEMORY_ENTRY_V1__INIT;
	Containerd__Task__MemoryStatV1 memory = CONTAINERD__TASK__MEMORY_STAT_V1__INIT;
	Containerd__Task__MemoryOomControlV1 oom = CONTAINERD__TASK__MEMORY_OOM_CONTROL_V1__INIT;

	usage.total = stats->cpu_ns;
	usage.kernel = stats->cpu_system_ns;
	usage.user = stats->cpu_user_ns;
	cpu.usage = &usage;
	entry.usage = stats->memory_bytes;
	entry.limit = stats->memory_limit_bytes;
	entry.max = stats->memory_max_bytes;
	memory.usage = &entry;
	oom.oom_kill = stats->oom_kills;
	metrics.pids = pids;
	metrics.cpu = &cpu;
	metrics.memory = &memory;
	metrics.memory_oom_control = &oom;
	reply_stats(call, "io.containerd.cgroups.v1.Metrics", &metrics.base);
}

static void reply_stats_v2(struct ttrpc_call *call, const Hydra__V1__StatsResponse *stats, Containerd__Task__PidsStat *pids)
{
	Containerd__Task__MetricsV2 metrics = CONTAINERD__TASK__METRICS_V2__INIT;
	Containerd__Task__CpuStatV2 cpu = CONTAINERD__TASK__CPU_STAT_V2__INIT;
	Containerd__Task__MemoryStatV2 memory = CONTAINERD__TASK__MEMORY_STAT_V2__INIT;
	Containerd__Task__MemoryEventsV2 events = CONTAINERD__TASK__MEMORY_EVENTS_V2__INIT;

	cpu.usage_usec = stats->cpu_ns / 1000;
	cpu.user_usec = stats->cpu_user_ns / 1000;
	cpu.system_usec = stats->cpu_system_ns / 1000;
	memory.usage = stats->memory_bytes;
	memory.usage_limit = stats->memory_limit_bytes > 0 ? stats->memory_limit_bytes : UINT64_MAX;
	memory.max_usage = stats->memory_max_bytes;
	events.oom_kill = stats->oom_kills;
	metrics.pids = pids;
	metrics.cpu = &cpu;
	metrics.memory = &memory;
	metrics.memory_events = &events;
	reply_stats(call, "io.containerd.cgroups.v2.Metrics", &metrics.base);
}

void containerd_handle_stats(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__IdRequest *request = (const void *) message;
	Hydra__V1__StatsResponse stats = HYDRA__V1__STATS_RESPONSE__INIT;
	Containerd__Task__PidsStat pids = CONTAINERD__TASK__PIDS_STAT__INIT;
	struct container *container = containerd_container(call, request->id);

	if (container == NULL)
		return;
	cgroup_stats(&container->cgroup, &stats);
	pids.current = stats.pids;
	pids.limit = stats.pids_limit;
	if (container->cgroup.is_v2)
		reply_stats_v2(call, &stats, &pids);
	else
		reply_stats_v1(call, &stats, &pids);
}

/* Never an error: containerd asks this of shims that it finds after its own restart. */
void containerd_handle_connect(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Containerd__Task__IdRequest *request = (const void *) message;
	Containerd__Task__ConnectResponse response = CONTAINERD__TASK__CONNECT_RESPONSE__INIT;
	struct shim *shim = call->server->context;
	char version[] = HYDRA_VERSION;

	response.shim_pid = (uint32_t) getpid();
	response.version = version;
	for (struct container *container = shim->containers; container != NULL; container = container->next) {
		if (strcmp(container->dir.id, request->id) == 0)
			response.task_pid = (uint32_t) (container->init != NULL ? container->init->pid : 0);
	}
	ttrpc_reply(call, &response.base);
}
