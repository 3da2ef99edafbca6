/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the commit: the container is the target's, and this host keeps its memory until all of it is there. A connection
 * may break, and this process may be killed and started again, as often as it takes; the tasks never run here again.
 */
#include "checkpoint/send.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/departure.h"
#include "state/record.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS   2000
#define STOP_NS        (2000 * NS_PER_MS)

/* True when a signal (they are blocked) says that it was enough. */
static bool pause_is_cancelled(int ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * (long) NS_PER_MS};
	sigset_t mask;

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGTERM);
	(void) sigaddset(&mask, SIGINT);
	(void) sigaddset(&mask, SIGHUP);
	return sigtimedwait(&mask, NULL, &pause) > 0;
}

/* Somebody may have removed the container: then there is nothing to come back for. */
static int check_memory(struct sender_state *self, struct error *err)
{
	if (process_start_time(self->spec->pid) == self->record.pid_start_time)
		return 0;
	return fail_because(err, ESRCH, "the container's memory is gone: its init (process %d) has ended", self->spec->pid);
}

/* What it refuses, it says once more when it is asked what became of the container; then it is final. */
static bool may_ask_again(struct sender_state *self, int result)
{
	if (result == -EPIPE)
		return true;
	if (result != -EREMOTEIO || self->was_refused)
		return false;
	self->was_refused = true;
	return true;
}

/* An administrator may have decided meanwhile. */
static bool is_resolved(const struct sender_state *self)
{
	Hydra__V1__HandoverRecord *fence = NULL;
	struct error ignored;
	bool is;

	if (handover_read(self->spec->state, &fence, &ignored) < 0)
		return false;
	is = fence->is_resolved;
	hydra__v1__handover_record__free_unpacked(fence, NULL);
	return is;
}

static int reconnect(struct sender_state *self, struct error *err)
{
	uint64_t end = clock_monotonic_ns() + (uint64_t) self->spec->reconnect_ms * NS_PER_MS;
	struct error last = *err;
	int pause_ms = PAUSE_FIRST_MS;

	progress_phase(&self->progress, SOURCE_RECONNECTING, err->message, NULL);
	while (self->spec->connect != NULL && (self->spec->reconnect_ms == 0 || clock_monotonic_ns() < end)) {
		session_close(&self->session);
		link_deinit(&self->faults);
		page_server_forget(&self->pages);
		if (send_connect(self, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_RESUME, &last) == 0) {
			send_connect_faults(self);
			send_choose_compression(self);
			progress_phase(&self->progress, SOURCE_PAGING, "connected again", NULL);
			return 0;
		}
		if (last.code == -EREMOTEIO || check_memory(self, &last) < 0)
			break;
		if (is_resolved(self)) {
			(void) fail_because(&last, ECANCELED, "an administrator has decided where it lives");
			break;
		}
		if (pause_is_cancelled(pause_ms)) {
			(void) fail_because(&last, ECANCELED, "given up while the target could not be reached");
			break;
		}
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
	return *err = last, err->code;
}

/* The target waits for pages that will never come: it has to know. */
int send_tell_loss(struct sender_state *self)
{
	int pause_ms = PAUSE_FIRST_MS;

	for (;;) {
		Hydra__V1__HandoffVerdict *verdict = NULL;
		struct error err;
		int r = send_ask(self, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_LOST, &verdict, &err);

		hydra__v1__handoff_verdict__free_unpacked(verdict, NULL);
		if (r == 0 || self->spec->connect == NULL)
			return 0;
		if (pause_is_cancelled(pause_ms))
			return -ECANCELED;
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
}

static int conclude(struct sender_state *self)
{
	Hydra__V1__HandoffSums sums = HYDRA__V1__HANDOFF_SUMS__INIT;
	struct error ignored;

	if (self->running_ns > self->frozen_ns && self->frozen_ns > 0)
		sums.downtime_us = (self->running_ns - self->frozen_ns) / NS_PER_US;
	send_count(self); /* the last pages may have left since the figures were looked at */
	sums.bytes_sent = self->progress.bytes_sent;
	if (self->sums != NULL)
		self->sums->downtime_us = sums.downtime_us;
	self->is_done = true;
	if (handover_write(self->spec->state, &self->record, HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE, &ignored) < 0)
		return 0; /* the target keeps its word until we have kept ours */
	(void) session_say_sums(&self->session, FRAME_ACKNOWLEDGED, self->spec->epoch, &sums, &ignored);
	(void) session_flush(&self->session, 0, &ignored);
	return 0;
}

int send_until_done(struct sender_state *self, struct error *err)
{
	int r;

	do {
		transport_pace(&self->session.link.transport, self->spec->bandwidth);
		r = send_serve(self, FRAME_DONE, err);
	} while (may_ask_again(self, r) && reconnect(self, err) == 0);
	return r < 0 ? err->code : conclude(self);
}

void send_bury(struct sender_state *self)
{
	struct error err;

	if (self->dump.worker.pid > 0 && dump_commit(&self->dump, &err) < 0)
		log_warning("CRIU did not end as it should", "container=%s reason=\"%s\"", self->spec->id, err.message);
	send_kill(self);
}

/* The commit stopped every task by signal, so that it is stopped when CRIU and the worker are gone. CRIU may be dying just now, and the signal
 * about to be seen: before that no instruction of the task's own is run. */
static bool will_stop(pid_t pid)
{
	uint64_t end = clock_monotonic_ns() + STOP_NS;
	struct timespec pause = {.tv_nsec = (long) NS_PER_MS};

	while (!send_task_is_stopped(pid)) {
		if (clock_monotonic_ns() > end)
			return false;
		(void) nanosleep(&pause, NULL);
	}
	return true;
}

static int find_tasks(struct sender_state *self, struct error *err)
{
	int r = check_memory(self, err);

	if (r == 0)
		r = page_server_init(&self->pages, self->spec->pid, err);
	for (size_t i = 0; i < self->pages.tasks.count && r == 0; i++) {
		if (!will_stop(self->pages.tasks.items[i].pid))
			r = fail_because(err, EBUSY, "process %d of the container ran after the hand-over",
					 (int) self->pages.tasks.items[i].pid);
	}
	return r;
}

static int go_on(struct sender_state *self, struct error *err)
{
	int r = find_tasks(self, err);

	if (r < 0)
		return r;
	(void) fail_because(err, EPIPE, "the worker before this one ended");
	r = reconnect(self, err);
	return r == 0 ? send_until_done(self, err) : r;
}

enum send_outcome send_end_without_done(struct sender_state *self, struct error *err)
{
	struct error problem;

	if (self->verdict == HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED && err->code == -ECANCELED) {
		if (send_take_back(self, &problem) == 0) {
			progress_phase(&self->progress, SOURCE_FAILED, err->message, NULL);
			return SEND_STAYED;
		}
		*err = problem;
	}
	if (err->code == -EFAULT || check_memory(self, &problem) < 0)
		(void) send_tell_loss(self);
	progress_phase(&self->progress, SOURCE_IN_DOUBT, err->message, NULL);
	return SEND_IN_DOUBT;
}

struct send_spec send_spec_of(const struct send_spec *given, const Hydra__V1__HandoverRecord *fence)
{
	struct send_spec spec = *given;

	spec.connect = fence->peer[0] != '\0' ? fence->peer : NULL;
	spec.files = (struct transport_files){fence->ca, fence->certificate, fence->key};
	spec.id = fence->container_id;
	spec.container_namespace = fence->container_namespace;
	spec.migration_id = fence->migration_id;
	spec.epoch = fence->epoch;
	spec.pid = (int) fence->pid;
	spec.work = fence->work;
	spec.bandwidth = fence->bandwidth;
	spec.compress = fence->compress;
	spec.veth = fence->veth;
	spec.bridge = fence->bridge;
	return spec;
}

static enum send_outcome run(struct sender_state *self, struct error *err)
{
	self->session.signal_fd = self->session.link.transport.fd = self->faults.transport.fd = FD_NONE;
	if (self->record.state == HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE)
		return SEND_MOVED; /* the shim kills what is left */
	if (go_on(self, err) < 0)
		return send_end_without_done(self, err);
	send_bury(self);
	progress_phase(&self->progress, SOURCE_DONE, NULL, NULL);
	if (self->spec->work[0] != '\0')
		(void) dir_remove_all(AT_FDCWD, self->spec->work, &(struct error){0});
	return SEND_MOVED;
}

enum send_outcome send_resume(const struct send_spec *spec, struct error *err)
{
	Hydra__V1__HandoverRecord *fence = NULL;
	struct send_spec whole;
	struct sender_state self = {.spec = &whole, .dump = PARKED_DUMP_NONE, .layer_fd = FD_NONE, .packets_fd = FD_NONE, .carried = CARRIED_NONE,
				    .volumes = CARRIED_NONE, .lower = LAYER_FOLDER_NONE, .is_committed = true,
				    .progress = {.fd = spec->progress_fd}};
	enum send_outcome outcome;

	if (handover_read(spec->state, &fence, err) < 0)
		return err->code == -ENOENT ? SEND_STAYED : SEND_IN_DOUBT;
	if (strcmp(spec->migration_id, fence->migration_id) != 0 || (fence->state != HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED &&
	     fence->state != HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE)) {
		hydra__v1__handover_record__free_unpacked(fence, NULL);
		(void) fail_because(err, EINVAL, "the container was not handed over");
		return SEND_STAYED;
	}
	whole = send_spec_of(spec, fence);
	self.record = *fence;
	outcome = run(&self, err);
	if (outcome != SEND_IN_DOUBT)
		departure_forget(&self.record);
	session_close(&self.session);
	link_deinit(&self.faults);
	page_server_deinit(&self.pages);
	hydra__v1__handoff_sums__free_unpacked(self.sums, NULL);
	hydra__v1__handover_record__free_unpacked(fence, NULL);
	return outcome;
}
