/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "proto/message.h"
#include "state/exit_record.h"
#include "state/run_dir.h"
#include "state/shim_process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ANSWER_NS NS_PER_S /* a shim that takes longer is unknown until it answers; nobody waits for it */
#define EVENTS_LATER_NS (100 * NS_PER_MS) /* what happens before is in the journal */
#define LOOK_FIRST_NS   (100 * NS_PER_MS)
#define LOOK_LAST_NS    (30 * NS_PER_S)

static void ask_state(struct entry *self);
static void ask_events(struct entry *self);
static void connect_shim(struct entry *self);

struct entry *entry_find(struct daemon *daemon, const char *namespace, const char *id)
{
	for (struct entry *entry = daemon->entries; entry != NULL; entry = entry->next) {
		if (strcmp(entry->id, id) == 0 && strcmp(entry->namespace, namespace) == 0)
			return entry;
	}
	return NULL;
}

/* The recovery is over when every shim has answered or has used up its time. */
static void first_answer_is_in(struct entry *self)
{
	struct daemon *daemon = self->daemon;

	if (!self->is_first_answer_due)
		return;
	self->is_first_answer_due = false;
	event_loop_disarm(&daemon->loop, &self->timer);
	if (--daemon->asking == 0 && daemon->recovery_us == 0)
		daemon->recovery_us = (clock_monotonic_ns() - daemon->started_mono_ns) / 1000 + 1;
}

static void hang_up(struct entry *self)
{
	if (self->has_client)
		ttrpc_client_deinit(&self->client);
	self->has_client = false;
	self->is_reachable = false;
}

void entry_free(struct entry *self)
{
	for (struct entry **link = &self->daemon->entries; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	first_answer_is_in(self);
	event_loop_disarm(&self->daemon->loop, &self->timer);
	hang_up(self);
	record_free(self->record);
	message_free(self->exit);
	free(self->namespace);
	free(self->id);
	free(self);
}

static void removed(struct daemon *daemon, int exit_status, const char *message, void *context)
{
	auto_free char *path = context;
	auto_free char *folder = text_format("%s/%s", daemon->root, path);
	char *slash = strchr(path, '/');

	*slash = '\0';
	if (exit_status != 0)
		log_error("half-done container not cleaned up", "container=%s error=\"%s\"", slash + 1, message);
	else if (!path_exists(AT_FDCWD, folder)) /* else it was finished meanwhile */
		log_info("half-done container cleaned up", "container=%s", slash + 1);
	entry_refresh(daemon, path, slash + 1);
}

/* As it seems: hydra-setup looks again, with nobody else at work on it. */
static bool is_half_done(const struct run_dir *dir, const record *container)
{
	return !run_dir_is_locked(dir, LOCK_SETUP) && !run_dir_is_locked(dir, LOCK_SHIM) && record_is_half_done(container);
}

static void clean_up(struct entry *self)
{
	bool is_task = self->record != NULL && self->record->containerd != NULL;
	const char *arguments[] = {"--root", self->daemon->root, "--namespace", self->namespace, "remove", "--half-done", self->id,
				   is_task ? "--containerd" : NULL, NULL};
	char *path = text_format("%s/%s", self->namespace, self->id);
	struct error err;

	if (worker_start(self->daemon, "hydra-setup", arguments, NULL, 0, removed, path, &err) < 0) {
		log_error("half-done container not cleaned up", "container=%s error=\"%s\"", self->id, err.message);
		free(path);
	}
}

/* False: the container is gone, and its entry with it. */
static bool load_from_disk(struct entry *self)
{
	struct run_dir dir;
	struct error err;
	record *loaded = NULL;
	bool half_done;

	if (run_dir_open(&dir, self->daemon->root, self->namespace, self->id, &err) < 0) {
		entry_free(self);
		return false;
	}
	if (record_load(dir.fd, &loaded, &err) == 0) {
		record_free(self->record);
		self->record = loaded;
	} else if (err.code != -ENOENT) {
		log_error("record not readable", "container=%s error=\"%s\"", self->id, err.message);
	}
	fault_point("hydrad.record-read");
	message_free(self->exit);
	self->exit = NULL;
	(void) exit_record_load(dir.fd, "", &self->exit, &err);
	half_done = is_half_done(&dir, loaded) && (loaded != NULL || err.code == -ENOENT);
	run_dir_close(&dir);
	if (half_done)
		clean_up(self);
	return true;
}

bool entry_know(struct entry *self)
{
	return self->record != NULL || load_from_disk(self);
}

/* A shim that is not there may be on its way: soon looked for, then less and less. */
static void look_later(struct entry *self)
{
	if (self->look_again_ns == 0)
		self->look_again_ns = LOOK_FIRST_NS;
	event_loop_arm(&self->daemon->loop, &self->timer, self->look_again_ns);
	if (self->look_again_ns < LOOK_LAST_NS)
		self->look_again_ns *= 2;
}

static void look_again(struct event_timer *timer)
{
	struct entry *self = timer->context;

	if (self->is_events_due) {
		self->is_events_due = false;
		ask_events(self);
		return;
	}
	if (self->is_first_answer_due) {
		log_warning("shim did not answer in time", "container=%s", self->id);
		self->is_reported = true;
		report_shim(self->daemon, self->namespace, self->id, false);
		first_answer_is_in(self);
		(void) entry_know(self);
		return;
	}
	if (!self->has_client && load_from_disk(self))
		connect_shim(self);
}

static bool is_over(const record *container)
{
	return container != NULL && container->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED && !container->restart_is_pending;
}

static void shim_closed(struct ttrpc_client *client)
{
	struct entry *self = client->context;

	self->has_client = false;
	self->is_reachable = false;
	self->is_events_due = false;
	first_answer_is_in(self);
	if (load_from_disk(self) && !is_over(self->record))
		look_later(self);
}

static void events_came(struct ttrpc_client *client, const ProtobufCMessage *message, const struct error *err, void *user)
{
	const Hydra__V1__EventsResponse *response = (const void *) message;
	struct entry *self = user;

	(void) client;
	(void) err;
	if (response == NULL)
		return;
	for (size_t i = 0; i < response->n_events; i++) {
		self->last_sequence = response->events[i]->sequence;
		events_add(self->daemon, response->events[i]);
	}
	ask_state(self);
}

static void ask_events(struct entry *self)
{
	Hydra__V1__EventsRequest request = HYDRA__V1__EVENTS_REQUEST__INIT;
	struct error ignored;

	request.since = self->last_sequence;
	request.wait = true;
	(void) ttrpc_client_call(&self->client, "hydra.v1.Shim", "Events", &request.base, &hydra__v1__events_response__descriptor,
				 events_came, self, &ignored);
}

static void state_came(struct ttrpc_client *client, const ProtobufCMessage *message, const struct error *err, void *user)
{
	const Hydra__V1__StateResponse *response = (const void *) message;
	struct entry *self = user;

	(void) client;
	(void) err;
	if (response == NULL || response->record == NULL)
		return;
	record_free(self->record);
	message_free(self->exit);
	self->record = (record *) (void *) message_copy(&response->record->base);
	self->exit = response->exit != NULL ? (void *) message_copy(&response->exit->base) : NULL;
	self->is_reachable = true;
	if (self->is_reported)
		report_shim(self->daemon, self->namespace, self->id, true);
	self->is_reported = false;
	self->is_events_due = self->is_first_answer_due;
	first_answer_is_in(self);
	if (self->is_events_due) /* first everybody's state */
		event_loop_arm(&self->daemon->loop, &self->timer, EVENTS_LATER_NS);
	else
		ask_events(self);
}

static void ask_state(struct entry *self)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	struct error ignored;

	(void) ttrpc_client_call(&self->client, "hydra.v1.Shim", "State", &request.base, &hydra__v1__state_response__descriptor,
				 state_came, self, &ignored);
}

static bool is_connected(struct entry *self)
{
	struct error err;
	int fd;

	if (shim_process_connect_now(self->daemon->root, self->namespace, self->id, &fd, &err) < 0 ||
	    ttrpc_client_init(&self->client, &self->daemon->loop, fd, &err) < 0)
		return false;
	self->has_client = true;
	self->look_again_ns = 0;
	self->client.context = self;
	self->client.on_closed = shim_closed;
	ask_state(self);
	return true;
}

static void connect_shim(struct entry *self)
{
	if (!is_over(self->record) && !is_connected(self))
		look_later(self);
}

static struct entry *entry_new(struct daemon *daemon, const char *namespace, const char *id)
{
	struct entry *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return NULL;
	self->daemon = daemon;
	self->namespace = text_copy(namespace);
	self->id = text_copy(id);
	self->timer = (struct event_timer){.handle = look_again, .context = self};
	self->next = daemon->entries;
	daemon->entries = self;
	return self;
}

void entry_refresh(struct daemon *daemon, const char *namespace, const char *id)
{
	struct entry *self = entry_find(daemon, namespace, id);

	if (self == NULL)
		self = entry_new(daemon, namespace, id);
	if (self != NULL && load_from_disk(self) && !self->has_client)
		connect_shim(self);
}

/* Who has a shim that answers is asked it; the disk, which knows no better, only when it does not. */
static bool recover_one(const char *namespace, const char *id, void *context)
{
	struct daemon *daemon = context;
	struct entry *self = entry_new(daemon, namespace, id);

	if (self == NULL)
		return true;
	if (is_connected(self)) {
		self->is_first_answer_due = true;
		daemon->asking++;
		event_loop_arm(&daemon->loop, &self->timer, FIRST_ANSWER_NS);
	} else if (load_from_disk(self) && !is_over(self->record)) {
		look_later(self);
	}
	return true;
}

static bool rescan_one(const char *namespace, const char *id, void *context)
{
	if (entry_find(context, namespace, id) == NULL)
		entry_refresh(context, namespace, id);
	return true;
}

void entries_rescan(struct daemon *daemon)
{
	struct error ignored;

	(void) run_dir_visit(daemon->root, NULL, rescan_one, daemon, &ignored);
}

int entries_recover(struct daemon *daemon, struct error *err)
{
	int r = run_dir_visit(daemon->root, NULL, recover_one, daemon, err);

	if (r == 0 && daemon->asking == 0)
		daemon->recovery_us = (clock_monotonic_ns() - daemon->started_mono_ns) / 1000 + 1;
	return r;
}
