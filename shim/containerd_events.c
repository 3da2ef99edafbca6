/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events to containerd: in order, one at a time, kept while containerd is away.
 */
#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/containerd.h"
#include "shim/shim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 2048
#define RETRY_NS    NS_PER_S

struct published {
	Containerd__Task__ForwardRequest *request;
	struct published *next;
};

static void send_next(struct containerd *self);

static void drop_first(struct containerd *self)
{
	struct published *first = self->first;

	self->first = first->next;
	if (self->first == NULL)
		self->last_link = &self->first;
	self->waiting--;
	message_free(first->request);
	free(first);
}

static void retry(struct event_timer *timer)
{
	send_next(timer->context);
}

void containerd_events_init(struct containerd *self, struct shim *shim, const char *namespace, const char *ttrpc_address)
{
	*self = (struct containerd){.shim = shim, .namespace = namespace, .ttrpc_address = ttrpc_address};
	self->last_link = &self->first;
	self->retry_timer = (struct event_timer){.handle = retry, .context = self};
}

static void forwarded(struct ttrpc_client *client, const ProtobufCMessage *response, const struct error *err, void *user)
{
	struct containerd *self = user;

	(void) client;
	self->is_sending = false;
	/* a refusal counts as taken: the same event would be refused again */
	if (response != NULL || err->code != -ECONNRESET)
		drop_first(self);
	send_next(self);
	shim_consider_end(self->shim);
}

static void closed(struct ttrpc_client *client)
{
	struct containerd *self = client->context;

	self->has_client = false;
	self->is_sending = false;
	event_loop_arm(&self->shim->loop, &self->retry_timer, RETRY_NS);
}

static bool connect_containerd(struct containerd *self)
{
	const char *path = text_has_prefix(self->ttrpc_address, "unix://") ? self->ttrpc_address + 7 : self->ttrpc_address;
	struct error ignored;
	int fd;

	if (self->has_client)
		return true;
	if (socket_connect(path, &fd, &ignored) < 0 || ttrpc_client_init(&self->client, &self->shim->loop, fd, &ignored) < 0)
		return false;
	self->has_client = true;
	self->client.context = self;
	self->client.on_closed = closed;
	return true;
}

static void send_next(struct containerd *self)
{
	struct error ignored;

	if (self->first == NULL || self->is_sending)
		return;
	if (connect_containerd(self) &&
	    ttrpc_client_call(&self->client, "containerd.services.events.ttrpc.v1.Events", "Forward", &self->first->request->base,
			      &containerd__task__empty__descriptor, forwarded, self, &ignored) == 0)
		self->is_sending = true;
	else
		event_loop_arm(&self->shim->loop, &self->retry_timer, RETRY_NS);
}

bool containerd_events_are_sent(const struct containerd *self)
{
	return self->first == NULL;
}

void containerd_timestamp(uint64_t time_ns, Containerd__Task__Timestamp *ret_timestamp)
{
	containerd__task__timestamp__init(ret_timestamp);
	/* Go's zero time, which its clients know as "not yet" */
	ret_timestamp->seconds = time_ns == 0 ? -62135596800LL : (int64_t) (time_ns / NS_PER_S);
	ret_timestamp->nanos = (int32_t) (time_ns % NS_PER_S);
}

static Containerd__Task__ForwardRequest *wrap(const struct containerd *self, const char *topic, const char *type, uint8_t *data,
					      size_t size)
{
	Containerd__Task__ForwardRequest request = CONTAINERD__TASK__FORWARD_REQUEST__INIT;
	Containerd__Task__Envelope envelope = CONTAINERD__TASK__ENVELOPE__INIT;
	Containerd__Task__Timestamp timestamp;
	Containerd__Task__Any any = CONTAINERD__TASK__ANY__INIT;

	containerd_timestamp(clock_realtime_ns(), &timestamp);
	any.type_url = (char *) (uintptr_t) type;
	any.value = (ProtobufCBinaryData){.data = data, .len = size};
	envelope.timestamp = &timestamp;
	envelope.namespace_ = (char *) (uintptr_t) self->namespace;
	envelope.topic = (char *) (uintptr_t) topic;
	envelope.event = &any;
	request.envelope = &envelope;
	return (Containerd__Task__ForwardRequest *) (void *) message_copy(&request.base);
}

void containerd_publish(struct containerd *self, const char *topic, const char *type, const ProtobufCMessage *notice)
{
	struct published *item;
	auto_free uint8_t *data = NULL;
	struct error ignored;
	size_t size;

	if (self->ttrpc_address == NULL || self->ttrpc_address[0] == '\0' || message_encode(notice, &data, &size, &ignored) < 0)
		return;
	item = calloc(1, sizeof(*item));
	if (item == NULL)
		return;
	item->request = wrap(self, topic, type, data, size);
	if (item->request == NULL) {
		free(item);
		return;
	}
	*self->last_link = item;
	self->last_link = &item->next;
	if (++self->waiting > WAITING_MAX && !self->is_sending)
		drop_first(self);
	send_next(self);
}

static void publish_exit(struct container *container, const struct process *process)
{
	Containerd__Task__TaskExit notice = CONTAINERD__TASK__TASK_EXIT__INIT;
	Containerd__Task__Timestamp exited_at;

	containerd_timestamp(process->exit->finished_ns, &exited_at);
	notice.container_id = container->dir.id;
	notice.id = process->exec_id[0] != '\0' ? (char *) (uintptr_t) process->exec_id : container->dir.id;
	notice.pid = (uint32_t) process->pid;
	notice.exit_status = process->exit->is_known ? process->exit->exit_code : 255;
	notice.exited_at = &exited_at;
	containerd_publish(container->shim->containerd, "/tasks/exit", "containerd.events.TaskExit", &notice.base);
}

static void publish_exec_started(struct container *container, const struct process *process)
{
	Containerd__Task__TaskExec notice = CONTAINERD__TASK__TASK_EXEC__INIT;

	notice.container_id = container->dir.id;
	notice.exec_id = (char *) (uintptr_t) process->exec_id;
	notice.pid = (uint32_t) process->pid;
	containerd_publish(container->shim->containerd, "/tasks/exec-started", "containerd.events.TaskExecStarted", &notice.base);
}

static void publish_start(struct container *container, const struct process *process)
{
	Containerd__Task__TaskStart notice = CONTAINERD__TASK__TASK_START__INIT;

	notice.container_id = container->dir.id;
	notice.pid = (uint32_t) process->pid;
	containerd_publish(container->shim->containerd, "/tasks/start", "containerd.events.TaskStart", &notice.base);
}

void containerd_noted(struct container *container, const char *type, const struct process *process)
{
	static const struct {
		const char *type, *topic, *message;
	} plain[] = {{"oom", "/tasks/oom", "containerd.events.TaskOOM"},
		     {"paused", "/tasks/paused", "containerd.events.TaskPaused"},
		     {"resumed", "/tasks/resumed", "containerd.events.TaskResumed"}};
	Containerd__Task__TaskContainer notice = CONTAINERD__TASK__TASK_CONTAINER__INIT;

	notice.container_id = container->dir.id;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (strcmp(type, plain[i].type) == 0)
			containerd_publish(container->shim->containerd, plain[i].topic, plain[i].message, &notice.base);
	}
	if (strcmp(type, "exited") == 0 || strcmp(type, "exec-exited") == 0)
		publish_exit(container, process);
	else if (strcmp(type, "exec-started") == 0)
		publish_exec_started(container, process);
	else if (strcmp(type, "started") == 0)
		publish_start(container, process);
}
