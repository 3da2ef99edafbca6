/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container that moves to another host, seen from its shim at the source.
 *
 * Whose it is, is told by the fencing record "handover", which the send worker makes durable before the target may run
 * anything. The shim never lets a container go on that was handed over.
 */
#include "base/fault.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint.pb-c.h"
#include "proto/message.h"
#include "shim/container.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define HANDOVER_FILE "handover"
#define HANDOVER_VERSION 1U
#define HANDOVER_MAX  65536U
#define INPUT_PIPE_SIZE (1 << 20)
#define KILLED_WORKERS_MAX 8 /* more are no accident */

bool migration_is_under_way(const struct container *self)
{
	return self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_MIGRATING && self->record->migration != NULL;
}

/* What the fencing record says of the migration under way; UNKNOWN: nothing. One that can't be read, or that a later version
 * wrote in a way not known here, may say that the container was given away: then that is what counts. */
static Hydra__V1__HandoverState fencing_state(const struct container *self)
{
	auto_free char *data = NULL;
	auto_message Hydra__V1__HandoverRecord *fence = NULL;
	struct error ignored;
	size_t size = 0;
	int r = file_read(self->dir.fd, HANDOVER_FILE, HANDOVER_MAX, &data, &size, &ignored);

	if (r == -ENOENT)
		return HYDRA__V1__HANDOVER_STATE__HANDOVER_UNKNOWN;
	fence = r < 0 ? NULL : (void *) message_decode(&hydra__v1__handover_record__descriptor, (const uint8_t *) data, size);
	if (fence != NULL && strcmp(fence->migration_id, self->record->migration->id) != 0)
		return HYDRA__V1__HANDOVER_STATE__HANDOVER_UNKNOWN;
	if (fence == NULL || fence->version != HANDOVER_VERSION ||
	    protobuf_c_enum_descriptor_get_value(&hydra__v1__handover_state__descriptor, (int) fence->state) == NULL)
		return HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED;
	return fence->state;
}

static void save(struct container *self)
{
	struct error err;

	if (container_save(self, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", self->dir.id, err.message);
}

bool migration_is_handed_over(struct container *self)
{
	Hydra__V1__Migration *migration = self->record->migration;
	Hydra__V1__HandoverState state;
	bool was;

	if (migration == NULL || !migration_is_under_way(self))
		return migration != NULL && migration->is_handed_over;
	was = migration->is_handed_over;
	state = fencing_state(self);
	if (state == HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED) /* the target, or an administrator, said so */
		migration->is_handed_over = false;
	else if (state == HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED || state == HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE)
		migration->is_handed_over = true;
	if (migration->is_handed_over != was)
		save(self);
	return migration->is_handed_over;
}

static int check(const struct container *self, struct error *err)
{
	if (self->record->state != HYDRA__V1__CONTAINER_STATE__STATE_RUNNING)
		return fail_because(err, EBUSY, "migrate container '%s': it is %s", self->dir.id, state_name(self->record->state));
	if (self->operation != NULL)
		return fail_because(err, EBUSY, "migrate container '%s': it is busy with %s", self->dir.id, self->operation);
	for (const struct process *process = self->processes; process != NULL; process = process->next) {
		if (process != self->init && process->pid > 0 && !process->has_ended)
			return fail_because(err, EBUSY, "migrate container '%s': exec '%s' (process %d) runs in it and can't be moved",
					    self->dir.id, process->exec_id, (int) process->pid);
	}
	return 0;
}

/* What clients sent and the pipe had no room for: who copies the pipe then finds it there. */
static void make_room_for_input(struct container *self)
{
	int fd = process_input_fd(self->init);

	if (self->init->is_terminal || self->init->input_size == 0 || fd < 0)
		return;
	(void) fcntl(fd, F_SETPIPE_SZ, INPUT_PIPE_SIZE);
	(void) process_write_input(self->init, NULL, 0);
}

int migration_begin(struct container *self, const Hydra__V1__MigrationBeginRequest *request, struct error *err)
{
	Hydra__V1__Migration *migration = malloc(sizeof(*migration));
	uint64_t last = self->record->migration != NULL ? self->record->migration->epoch : 0;
	int r = strchr(request->migration_id, '/') == NULL ? check(self, err) /* it becomes a part of a path */
							   : fail_because(err, EINVAL, "migration '%s': no such name", request->migration_id);

	if (r < 0 || migration == NULL) {
		free(migration);
		return r < 0 ? r : fail_errno(err, ENOMEM, "migrate container '%s'", self->dir.id);
	}
	hydra__v1__migration__init(migration);
	migration->epoch = request->epoch != 0 ? request->epoch : last + 1;
	if (!message_set_string(&migration->id, request->migration_id) || !message_set_string(&migration->peer, request->peer) ||
	    !message_set_string(&migration->phase, "begun")) {
		message_free(migration);
		return fail_errno(err, ENOMEM, "migrate container '%s'", self->dir.id);
	}
	message_free(self->record->migration);
	self->record->migration = migration;
	r = container_move(self, EVENT_MIGRATION_BEGUN, err);
	fault_point("shim.migration-begun");
	if (r == 0)
		make_room_for_input(self);
	if (r == 0)
		container_note(self, "migration-begun", self->init, migration->peer);
	return r;
}

static void go_on(struct container *self)
{
	struct error err;

	if (!migration_is_under_way(self))
		return;
	if (container_move(self, EVENT_MIGRATION_UNDONE, &err) < 0)
		log_error("record not written", "container=%s error=\"%s\"", self->dir.id, err.message);
	container_note(self, "migration-undone", self->init, NULL);
	process_check(self->init);
}

static void recovered(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;

	(void) shim;
	if (exit_status != 0)
		log_error("container not recovered from a broken migration", "container=%s status=%d", self->dir.id, exit_status);
	go_on(self);
}

/* Its worker was killed: the network may be unplugged, TCP connections may still be in repair. */
static void recover(struct container *self)
{
	const Hydra__V1__Network *network = self->record->network;
	bool is_plugged = network != NULL && network->host_interface[0] != '\0';
	auto_free char *work = text_format("%s/.work/out-%s", self->shim->root, self->record->migration->id);
	char pid[16];
	const char *argv[] = {"hydra-pager", "recover", "--pid", pid, "--work", work, "--state", self->dir.path, "--migration",
			      self->record->migration->id, is_plugged ? "--veth" : NULL,
			      is_plugged ? network->host_interface : NULL, is_plugged ? "--bridge" : NULL,
			      is_plugged ? network->bridge : NULL, NULL};
	struct child_spec spec = {.path = self->shim->pager_path, .argv = argv, .cwd = "/"};
	struct error err;

	(void) text_fit(pid, sizeof(pid), "%d", (int) self->record->pid);
	if (task_start(self->shim, &spec, recovered, self, &err) < 0) {
		log_error("container not recovered from a broken migration", "container=%s error=\"%s\"", self->dir.id, err.message);
		go_on(self);
	}
}

static void give_away(struct container *self)
{
	self->record->migration->is_handed_over = true;
	save(self);
	if (self->init != NULL && !self->init->has_ended && self->init->pidfd >= 0)
		(void) kernel_pidfd_send_signal(self->init->pidfd, SIGKILL);
}

static bool is_still_here(const struct shim *shim, const struct container *container)
{
	const struct container *each = shim->containers;

	while (each != NULL && each != container)
		each = each->next;
	return each != NULL;
}

static void note_doubt(struct container *self)
{
	(void) migration_is_handed_over(self);
	container_note(self, "migration-in-doubt", self->init, self->record->migration->peer);
}

static void bury(struct container *self)
{
	self->record->remove_on_exit = true;
	give_away(self);
}

static void serve_on(struct container *self);

static void resumed(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;

	if (!is_still_here(shim, self) || !migration_is_under_way(self))
		return;
	switch (fencing_state(self)) {
	case HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE:
		bury(self);
		break;
	case HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED:
		recover(self);
		break;
	default:
		if (exit_status >= 128 && ++self->killed_workers < KILLED_WORKERS_MAX)
			serve_on(self); /* it could not find out */
		else
			note_doubt(self);
		break;
	}
}

/* It belongs to the target, which may still need its memory: a worker that nobody else would start serves it. */
static void serve_on(struct container *self)
{
	const char *argv[] = {"hydra-pager", "send", "--resume", "--state", self->dir.path, "--migration", self->record->migration->id,
			      NULL};
	struct child_spec spec = {.path = self->shim->pager_path, .argv = argv, .cwd = "/"};
	struct error err;

	(void) migration_is_handed_over(self);
	if (task_start(self->shim, &spec, resumed, self, &err) < 0) {
		log_error("memory of a migrated container not served", "container=%s error=\"%s\"", self->dir.id, err.message);
		note_doubt(self);
	}
}

/* Nobody works on the migration any more. */
static void settle(struct container *self)
{
	if (!migration_is_under_way(self))
		return;
	switch (fencing_state(self)) {
	case HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE:
		bury(self);
		break;
	case HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED:
		serve_on(self);
		break;
	default:
		recover(self);
		break;
	}
}

static bool is_moved(const struct container *self)
{
	return self->record->migration != NULL && fencing_state(self) == HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE;
}

static void drop_lease(struct container *self)
{
	int fd = self->lease.fd;

	event_loop_remove(&self->shim->loop, &self->lease);
	owned_fd_release(&fd);
}

static void handle_lease(struct event_source *source, uint32_t events)
{
	struct container *self = source->context;

	(void) events;
	drop_lease(self);
	settle(self);
	/* its tasks have ended by then, and who would have removed it is dead */
	if (!migration_is_under_way(self) && is_moved(self))
		self->record->remove_on_exit = true;
	shim_consider_end(self->shim);
}

void migration_hold(struct container *self, int lease_fd)
{
	struct error err;

	drop_lease(self);
	if (lease_fd < 0) {
		return;
	}
	self->lease = (struct event_source){.handle = handle_lease, .context = self, .fd = FD_NONE};
	if (event_loop_add(&self->shim->loop, &self->lease, lease_fd, EPOLLIN, &err) == 0)
		return;
	owned_fd_release(&lease_fd);
	settle(self);
}

bool migration_is(const struct container *self, const char *migration_id)
{
	return migration_is_under_way(self) && strcmp(self->record->migration->id, migration_id) == 0;
}

static void awaited(struct shim *shim, int exit_status, void *context)
{
	struct container *self = context;

	self->awaits_workers = false;
	if (exit_status >= 128) /* it was killed, perhaps with the workers */
		migration_adopt(self);
	else if (exit_status != 0)
		log_error("who migrates the container was not awaited", "container=%s status=%d", self->dir.id, exit_status);
	else if (!migration_is_under_way(self)) /* its tasks had ended by then */
		self->record->remove_on_exit = self->record->remove_on_exit || is_moved(self);
	else if (self->lease.fd < 0) /* else it tells */
		settle(self);
	shim_consider_end(shim);
}

void migration_adopt(struct container *self)
{
	const char *argv[] = {"hydra-pager", "await", "--state", self->dir.path, NULL};
	struct child_spec spec = {.path = self->shim->pager_path, .argv = argv, .cwd = "/"};
	struct error err;

	if (task_start(self->shim, &spec, awaited, self, &err) < 0)
		log_error("who migrates the container was not awaited", "container=%s error=\"%s\"", self->dir.id, err.message);
	else
		self->awaits_workers = true;
}

void migration_ended_unseen(struct container *self)
{
	/* who moved it removes it, if he still lives */
	if (migration_is_under_way(self) && is_moved(self) &&
	    !run_dir_is_locked(&self->dir, LOCK_MIGRATION))
		self->record->remove_on_exit = true;
}

int migration_end(struct container *self, const Hydra__V1__MigrationEndRequest *request, struct error *err)
{
	if (self->record->migration != NULL && strcmp(self->record->migration->id, request->migration_id) == 0 &&
	    !migration_is_under_way(self)) {
		drop_lease(self);
		shim_consider_end(self->shim);
		return 0;
	}
	if (!migration_is(self, request->migration_id))
		return fail_because(err, EBUSY, "container '%s' is not in migration '%s'", self->dir.id, request->migration_id);
	drop_lease(self);
	self->awaits_workers = false; /* who asks finishes it */
	if (request->is_done)
		give_away(self);
	else if (migration_is_handed_over(self))
		note_doubt(self);
	else if (fencing_state(self) == HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED)
		recover(self); /* who took it back may have been killed */
	else
		go_on(self);
	return 0;
}
