/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/sums.h"

/* How long a vetoed restore may take to kill what it made. */
#define VETO_MS     30000

static void announce(struct receiver *self)
{
	auto_free char *id = progress_quote(self->offer->container_id), *name = progress_quote(self->offer->container_namespace);
	auto_free char *work = progress_quote(self->work), *layer = progress_quote(self->layer != NULL ? self->layer : "");
	auto_free char *migration = progress_quote(self->hello->migration_id), *lower = progress_quote(self->lower != NULL ? self->lower : "");
	auto_free char *extra = text_format(",\"id\":%s,\"namespace\":%s,\"migration\":%s,\"epoch\":%llu,\"work\":%s,\"layer\":%s,\"mode\":\"%s\",\"lower\":%s",
					    id, name, migration, (unsigned long long) self->offer->epoch, work, layer, mode_name(self->mode), lower);

	self->progress.bytes_total = self->offer->layer_bytes + receive_trees_bytes(self);
	progress_phase(&self->progress, TARGET_PREPARE, NULL, extra);
}

static int run(struct receiver *self, struct error *err)
{
	int r = session_open(&self->session, &(int){self->spec->connection_fd}, true, &self->spec->files,
			     self->spec->patience_ms, err);

	progress_phase(&self->progress, TARGET_PREFLIGHT, NULL, NULL);
	if (r == 0)
		r = receive_preflight(self, err);
	if (r < 0)
		return r;
	self->is_relay = self->hello->purpose != HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_MIGRATE;
	if (self->hello->purpose == HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_DESCRIBE)
		return receive_describe(self, err);
	if (!self->is_relay && self->offer->is_dry_run)
		return 0;
	if (self->is_relay)
		return receive_relay(self, err);
	self->record.migration_id = self->hello->migration_id;
	self->record.epoch = self->offer->epoch;
	self->record.container_id = self->offer->container_id;
	self->record.container_namespace = self->offer->container_namespace;
	self->record.work = self->work;
	self->record.lost_pages = (Hydra__V1__LostPages) self->offer->lost_pages;
	r = receive_prepare(self, err);
	if (r == 0) {
		announce(self);
		r = receive_layer(self, err);
	}
	if (r == 0 && mode_has_rounds(self->mode))
		r = receive_rounds(self, err);
	fault_point("receive.before-images");
	progress_phase(&self->progress, TARGET_IMAGES, NULL, NULL);
	if (r == 0)
		r = receive_images(self, err);
	fault_point("receive.images");
	return r == 0 ? receive_serve(self, err) : r;
}

/* The restore process may be at any point, or not here yet. When its connection ends, so have its tasks. */
static void veto(struct receiver *self, const char *reason)
{
	struct local_message message;
	struct error ignored;

	while (self->restore_fd < 0 && self->listen_fd >= 0) { /* it may wait for us to take notice */
		auto_close int fd = accept4(self->listen_fd, NULL, NULL, SOCK_CLOEXEC), passed = FD_NONE;

		if (fd < 0)
			break;
		if (local_receive(fd, &message, &passed, &ignored) == 0 && message.kind == LOCAL_HELLO)
			self->restore_fd = take_fd(&fd);
	}
	if (self->restore_fd < 0)
		return;
	(void) local_send(self->restore_fd, LOCAL_VETO, 0, reason, FD_NONE, &ignored);
	for (;;) {
		struct pollfd event = {.fd = self->restore_fd, .events = POLLIN};
		auto_close int fd = FD_NONE;

		if (poll(&event, 1, VETO_MS) <= 0 || local_receive(self->restore_fd, &message, &fd, &ignored) < 0)
			break;
		if (message.kind == LOCAL_PREPARED) /* asked before it read the veto, which is still there to be read */
			continue;
	}
}

/* Only a layer that this migration made, with the folders above it that are empty then. */
static void remove_layer(struct receiver *self)
{
	auto_free char *path = text_copy(self->layer);
	struct error err;

	if (dir_remove_all(AT_FDCWD, path, &err) < 0)
		log_warning("layer could not be removed", "path=%s reason=\"%s\"", path, err.message);
	for (int level = 0; level < 2; level++) {
		char *slash = strrchr(path, '/');

		if (slash == NULL)
			return;
		*slash = '\0';
		if (rmdir(path) < 0)
			return;
	}
}

/* Who cancels us can leave the reason in our folder, for the source to hear. */
static void use_reason(const struct receiver *self, struct error *err)
{
	auto_free char *path = self->work != NULL ? text_format("%s/reason", self->work) : NULL;
	auto_free char *reason = NULL;
	struct error ignored;

	if (path != NULL && err->code == -ECANCELED && file_read(AT_FDCWD, path, 1024, &reason, NULL, &ignored) == 0)
		(void) fail_because(err, ECANCELED, "%.400s", reason);
}

static void undo(struct receiver *self, const struct error *err)
{
	struct error ignored;

	/* The source may go on at once: without our GO the restore cannot let anything run. */
	receive_abort_verdict(self);
	if (self->session.link.transport.fd >= 0 && session_say(&self->session, FRAME_ABORT, 0, err->message, &ignored) == 0)
		(void) link_flush(&self->session.link, &ignored);
	veto(self, err->message);
	progress_phase(&self->progress, TARGET_FAILED, err->message, NULL);
	session_abort(&self->session, err->message);
	receive_undo_trees(self);
	if (self->owns_layer)
		remove_layer(self);
	if (self->owns_work)
		dir_unmount_all(self->work); /* of a restore that was killed */
	if (self->owns_work)
		(void) dir_remove_all(AT_FDCWD, self->work, &ignored);
}

/* Complete, and the source knows: nothing of it is needed any more. Otherwise it will ask again, and somebody has to know
 * the answer: see receive_relay(). */
void receive_conclude(struct receiver *self)
{
	auto_free char *journal = text_format("%s/" PAGER_JOURNAL, self->work);
	auto_free char *extra = sums_extra(self->sums);
	struct error ignored;

	(void) dir_remove_all(AT_FDCWD, self->images, &ignored);
	(void) unlink(journal);
	if (self->is_acknowledged)
		receive_forget(self);
	progress_phase(&self->progress, TARGET_DONE, NULL, extra);
}

void receive_clean_up(struct receiver *self)
{
	pager_stop(&self->pager);
	if (self->loop.epoll_fd > 0)
		event_loop_deinit(&self->loop);
	session_close(&self->session);
	link_deinit(&self->fault_link);
	layer_sink_deinit(&self->sink);
	carried_sinks_deinit(&self->carried);
	receive_close_trees(self);
	owned_fd_release(&self->layer_fd);
	owned_fd_release(&self->listen_fd);
	owned_fd_release(&self->restore_fd);
	problems_deinit(&self->problems);
	hydra__v1__handoff_hello__free_unpacked(self->hello, NULL);
	hydra__v1__handoff_offer__free_unpacked(self->offer, NULL);
	hydra__v1__handoff_sums__free_unpacked(self->sums, NULL);
	criu_deinit(&self->criu);
	verdict_close(&self->verdict);
	packet_store_deinit(&self->packets);
	owned_fd_release(&self->packets_fd);
	free(self->boot_id);
	free(self->work);
	free(self->images);
	free(self->layer);
}

enum receive_outcome receive_run(const struct receive_spec *spec, struct error *err)
{
	struct receiver self = {.spec = spec, .progress = {.fd = spec->progress_fd}, .verdict = VERDICT_NONE, .layer_fd = FD_NONE, .packets_fd = FD_NONE,
				.listen_fd = FD_NONE, .restore_fd = FD_NONE, .keeper_fd = FD_NONE, .lower_fd = FD_NONE, .lower_sink = {.root_fd = FD_NONE, .file_fd = FD_NONE},
				.sink = {.root_fd = FD_NONE, .file_fd = FD_NONE}, .record = HYDRA__V1__HANDOVER_RECORD__INIT};
	enum receive_outcome outcome = RECEIVE_DONE;
	int r;

	self.session.signal_fd = self.session.link.transport.fd = self.fault_link.transport.fd = FD_NONE;
	r = run(&self, err);
	if (self.is_relay) {
		outcome = r < 0 ? RECEIVE_REFUSED : RECEIVE_DONE;
	} else if (r < 0 && receive_never_ran(&self)) {
		use_reason(&self, err);
		undo(&self, err);
		outcome = RECEIVE_REFUSED;
	} else if (r < 0) {
		if (self.is_acknowledged)
			receive_forget(&self);
		progress_phase(&self.progress, TARGET_BROKEN, err->message, NULL);
		outcome = RECEIVE_BROKEN;
	} else if (self.stage == STAGE_COMPLETE) {
		receive_conclude(&self);
	}
	receive_clean_up(&self);
	return outcome;
}
