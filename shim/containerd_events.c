/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events to containerd: those of the journal, in order, one at a time. The file "published" in the run directory says which one
 * containerd has taken last, so that they outlive containerd's absence and the shim. Only the one that was on its way when a shim was
 * killed may come twice.
 */
#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/containerd.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POSITION_NAME  "published"
#define RETRY_FIRST_NS (100 * NS_PER_MS)
#define RETRY_LAST_NS  (10 * NS_PER_S)

static struct container *container_of(const struct containerd *self)
{
	return shim_container(self->shim);
}

static const char *address_of(const struct containerd *self)
{
	return container_of(self)->record->containerd->ttrpc_address;
}

void containerd_timestamp(uint64_t time_ns, Containerd__Task__Timestamp *ret_timestamp)
{
	containerd__task__timestamp__init(ret_timestamp);
	/* Go's zero time, which its clients know as "not yet" */
	ret_timestamp->seconds = time_ns == 0 ? -62135596800LL : (int64_t) (time_ns / NS_PER_S);
	ret_timestamp->nanos = (int32_t) (time_ns % NS_PER_S);
}

/* What an event of the journal is for containerd. */
struct notice {
	const char *topic, *type;
	bool is_of_exec;
	int (*encode)(const struct container *container, const event *entry, uint8_t **ret_data, size_t *ret_size, struct error *err);
};

static int encode_create(const struct container *container, const event *entry, uint8_t **ret_data, size_t *ret_size, struct error *err)
{
	Containerd__Task__TaskCreate notice = CONTAINERD__TASK__TASK_CREATE__INIT;
	Containerd__Task__TaskIO io = CONTAINERD__TASK__TASK_IO__INIT;
	const Hydra__V1__Containerd *task = container->record->containerd;

	if (task->n_stdio == 3) {
		io.stdin = task->stdio[0];
		io.stdout = task->stdio[1];
		io.stderr = task->stdio[2];
	}
	io.terminal = container->record->terminal;
	notice.container_id = entry->container_id;
	notice.bundle = container->record->bundle;
	notice.io = &io;
	notice.pid = (uint32_t) entry->pid;
	return message_encode(&notice.base, ret_data, ret_size, err);
}

static int encode_start(const struct container *container, const event *entry, uint8_t **ret_data, size_t *ret_size, struct error *err)
{
	Containerd__Task__TaskStart notice = CONTAINERD__TASK__TASK_START__INIT;

	(void) container;
	notice.container_id = entry->container_id;
	notice.pid = (uint32_t) entry->pid;
	return message_encode(&notice.base, ret_data, ret_size, err);
}

static int encode_exec(const struct container *container, const event *entry, uint8_t **ret_data, size_t *ret_size, struct error *err)
{
	Containerd__Task__TaskExec notice = CONTAINERD__TASK__TASK_EXEC__INIT;

	(void) container;
	notice.container_id = entry->container_id;
	notice.exec_id = entry->exec_id;
	notice.pid = (uint32_t) entry->pid;
	return message_encode(&notice.base, ret_data, ret_size, err);
}

static uint32_t status_of(const event *entry)
{
	return entry->exit == NULL ? 0 : entry->exit->is_known ? entry->exit->exit_code : 255;
}

static int encode_exit(const struct container *container, const event *entry, uint8_t **ret_data, size_t *ret_size, struct error *err)
{
	Containerd__Task__TaskExit notice = CONTAINERD__TASK__TASK_EXIT__INIT;
	Containerd__Task__Timestamp exited_at;

	(void) container;
	containerd_timestamp(entry->exit != NULL ? entry->exit->finished_ns : entry->time_ns, &exited_at);
	notice.container_id = entry->container_id;
	notice.id = entry->exec_id[0] != '\0' ? entry->exec_id : entry->container_id;
	notice.pid = (uint32_t) entry->pid;
	notice.exit_status = status_of(entry);
	notice.exited_at = &exited_at;
	return message_encode(&notice.base, ret_data, ret_size, err);
}

static int encode_delete(const struct container *container, const event *entry, uint8_t **ret_data, size_t *ret_size, struct error *err)
{
	Containerd__Task__TaskDelete notice = CONTAINERD__TASK__TASK_DELETE__INIT;
	Containerd__Task__Timestamp exited_at;

	(void) container;
	containerd_timestamp(entry->exit != NULL ? entry->exit->finished_ns : 0, &exited_at);
	notice.container_id = entry->container_id;
	notice.pid = (uint32_t) entry->pid;
	notice.exit_status = status_of(entry);
	notice.exited_at = &exited_at;
	return message_encode(&notice.base, ret_data, ret_size, err);
}

static int encode_plain(const struct container *container, const event *entry, uint8_t **ret_data, size_t *ret_size, struct error *err)
{
	Containerd__Task__TaskContainer notice = CONTAINERD__TASK__TASK_CONTAINER__INIT;

	(void) container;
	notice.container_id = entry->container_id;
	return message_encode(&notice.base, ret_data, ret_size, err);
}

static const struct {
	const char *type; /* in the journal */
	struct notice notice;
} notices[] = {
	{"created", {"/tasks/create", "containerd.events.TaskCreate", false, encode_create}},
	{"started", {"/tasks/start", "containerd.events.TaskStart", false, encode_start}},
	{"exec-added", {"/tasks/exec-added", "containerd.events.TaskExecAdded", true, encode_exec}},
	{"exec-started", {"/tasks/exec-started", "containerd.events.TaskExecStarted", true, encode_exec}},
	{"exec-exited", {"/tasks/exit", "containerd.events.TaskExit", true, encode_exit}},
	{"exited", {"/tasks/exit", "containerd.events.TaskExit", false, encode_exit}},
	{"oom", {"/tasks/oom", "containerd.events.TaskOOM", false, encode_plain}},
	{"paused", {"/tasks/paused", "containerd.events.TaskPaused", false, encode_plain}},
	{"resumed", {"/tasks/resumed", "containerd.events.TaskResumed", false, encode_plain}},
	{"deleted", {"/tasks/delete", "containerd.events.TaskDelete", false, encode_delete}},
};

/* NULL: containerd has no such event. */
static const struct notice *find_notice(const event *entry)
{
	for (size_t i = 0; i < sizeof(notices) / sizeof(notices[0]); i++) {
		if (strcmp(notices[i].type, entry->type) != 0)
			continue;
		return notices[i].notice.is_of_exec && strcmp(entry->detail, CONTAINERD_DETAIL) != 0 ? NULL : &notices[i].notice;
	}
	return NULL;
}

static void note_taken(struct containerd *self, uint64_t sequence)
{
	auto_close int fd = FD_NONE;

	self->taken = sequence;
	if (self->is_removed)
		return;
	fd = openat(container_of(self)->dir.fd, POSITION_NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || pwrite(fd, &sequence, sizeof(sequence), 0) != (ssize_t) sizeof(sequence))
		log_error("position in the journal not written", "container=%s", container_of(self)->dir.id);
}

static void retry(struct event_timer *timer)
{
	containerd_events_send(timer->context);
}

void containerd_events_init(struct containerd *self)
{
	auto_close int fd = openat(container_of(self)->dir.fd, POSITION_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || pread(fd, &self->taken, sizeof(self->taken), 0) != (ssize_t) sizeof(self->taken))
		self->taken = 0;
	self->retry_timer = (struct event_timer){.handle = retry, .context = self};
}

static void try_later(struct containerd *self)
{
	self->retry_ns = self->retry_ns == 0 ? RETRY_FIRST_NS : self->retry_ns * 2 < RETRY_LAST_NS ? self->retry_ns * 2 : RETRY_LAST_NS;
	event_loop_arm(&self->shim->loop, &self->retry_timer, self->retry_ns);
}

static void forwarded(struct ttrpc_client *client, const ProtobufCMessage *response, const struct error *err, void *user)
{
	struct containerd *self = user;
	uint64_t offered = self->offered;

	(void) client;
	self->offered = 0;
	/* a refusal counts as taken: the same event would be refused again */
	if (response == NULL && err->code == -ECONNRESET)
		return;
	self->retry_ns = 0;
	note_taken(self, offered);
	containerd_events_send(self);
	shim_consider_end(self->shim);
}

static void closed(struct ttrpc_client *client)
{
	struct containerd *self = client->context;

	self->has_client = false;
	self->offered = 0;
	if (!containerd_events_are_sent(self))
		try_later(self);
}

static bool connect_containerd(struct containerd *self)
{
	const char *address = address_of(self);
	const char *path = text_has_prefix(address, "unix://") ? address + 7 : address;
	struct error ignored;
	int fd;

	if (self->has_client)
		return true;
	if (socket_connect_now(path, &fd, &ignored) < 0 || ttrpc_client_init(&self->client, &self->shim->loop, fd, &ignored) < 0)
		return false;
	self->has_client = true;
	self->client.context = self;
	self->client.on_closed = closed;
	return true;
}

static bool forward(struct containerd *self, const event *entry, const struct notice *notice)
{
	Containerd__Task__ForwardRequest request = CONTAINERD__TASK__FORWARD_REQUEST__INIT;
	Containerd__Task__Envelope envelope = CONTAINERD__TASK__ENVELOPE__INIT;
	Containerd__Task__Any any = CONTAINERD__TASK__ANY__INIT;
	Containerd__Task__Timestamp timestamp;
	auto_free uint8_t *data = NULL;
	struct error ignored;
	size_t size;

	if (notice->encode(container_of(self), entry, &data, &size, &ignored) < 0)
		return false;
	containerd_timestamp(entry->time_ns, &timestamp);
	any.type_url = (char *) (uintptr_t) notice->type;
	any.value = (ProtobufCBinaryData){.data = data, .len = size};
	envelope.timestamp = &timestamp;
	envelope.namespace_ = (char *) (uintptr_t) self->shim->namespace;
	envelope.topic = (char *) (uintptr_t) notice->topic;
	envelope.event = &any;
	request.envelope = &envelope;
	return ttrpc_client_call(&self->client, "containerd.services.events.ttrpc.v1.Events", "Forward", &request.base,
				 &containerd__task__empty__descriptor, forwarded, self, &ignored) == 0;
}

/* False: this is the one that is on its way. */
static bool offer(const event *entry, void *context)
{
	struct containerd *self = context;
	const struct notice *notice = find_notice(entry);

	if (notice == NULL) {
		self->taken = entry->sequence;
		return true;
	}
	if (entry->sequence > self->taken + 1 && self->taken > 0)
		log_warning("events lost", "container=%s first=%llu last=%llu", entry->container_id,
			    (unsigned long long) self->taken + 1, (unsigned long long) entry->sequence - 1);
	if (connect_containerd(self) && forward(self, entry, notice))
		self->offered = entry->sequence;
	return false;
}

static void offer_kept(struct containerd *self)
{
	bool goes_on = true;

	for (size_t i = 0; i < self->kept_count && goes_on; i++)
		goes_on = self->kept[i]->sequence <= self->taken || offer(self->kept[i], self);
}

void containerd_events_send(struct containerd *self)
{
	const struct container *container = container_of(self);
	struct error err;

	if (self->offered != 0 || containerd_events_are_sent(self))
		return;
	if (self->is_removed)
		offer_kept(self);
	else if (journal_replay(container->dir.fd, self->taken, offer, self, &err) < 0)
		log_error("journal not read", "container=%s error=\"%s\"", container->dir.id, err.message);
	if (self->offered == 0 && !containerd_events_are_sent(self))
		try_later(self);
}

void containerd_events_retry(struct containerd *self)
{
	if (self->retry_timer.due_ns == 0)
		return;
	self->retry_ns = 0;
	containerd_events_send(self);
}

bool containerd_events_are_sent(const struct containerd *self)
{
	return address_of(self)[0] == '\0' || self->taken >= container_of(self)->journal.last_sequence;
}

static bool keep(const event *entry, void *context)
{
	struct containerd *self = context;
	void *larger = realloc(self->kept, (self->kept_count + 1) * sizeof(*self->kept));

	if (larger == NULL)
		return false;
	self->kept = larger;
	self->kept[self->kept_count] = (event *) (void *) message_copy(&entry->base);
	self->kept_count += self->kept[self->kept_count] != NULL;
	return true;
}

void containerd_events_keep(struct containerd *self)
{
	struct error err;

	if (!containerd_events_are_sent(self) && journal_replay(container_of(self)->dir.fd, self->taken, keep, self, &err) < 0)
		log_error("events lost", "container=%s error=\"%s\"", container_of(self)->dir.id, err.message);
}

static bool note_type(const event *entry, void *context)
{
	const char **type = context;

	*type = strcmp(entry->type, *type) == 0 ? *type : NULL;
	return false;
}

bool containerd_noted_last(const struct container *container, const char *type)
{
	const char *found = type;
	struct error ignored;

	return container->journal.last_sequence > 0 &&
	       journal_replay(container->dir.fd, container->journal.last_sequence - 1, note_type, &found, &ignored) == 0 && found != NULL;
}
