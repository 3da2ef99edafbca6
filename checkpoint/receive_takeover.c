/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receive worker was killed after the commit. The tasks wait; their userfaultfds are with the shim, what the worker knew is
 * in its folder, and the source comes again by itself.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fd_pass.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"

static int load(struct receiver *self, Hydra__V1__HandoverRecord **record, struct error *err)
{
	auto_free char *path = text_format("%s/verdict", self->work);
	bool is_locked;
	int r = verdict_open(&self->verdict, path, record, &is_locked, err);

	if (r < 0)
		return r;
	if ((*record)->state != HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED &&
	    (*record)->state != HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE)
		return fail_because(err, EINVAL, "the container was not handed over");
	self->record = **record;
	self->hello = malloc(sizeof(*self->hello));
	self->offer = malloc(sizeof(*self->offer));
	if (self->hello == NULL || self->offer == NULL)
		return fail_errno(err, ENOMEM, "take over");
	hydra__v1__handoff_hello__init(self->hello);
	hydra__v1__handoff_offer__init(self->offer);
	self->hello->migration_id = text_copy(self->record.migration_id);
	self->offer->epoch = self->record.epoch;
	self->offer->container_id = text_copy(self->record.container_id);
	return 0;
}

static int serve(struct receiver *self, int *keeper_fd, struct error *err)
{
	auto_free char *socket_path = text_format("%s/" LOCAL_SOCKET, self->work);
	struct pager_places places = {.images = self->images, .folder = self->work};
	int r = event_loop_init(&self->loop, err);

	if (r == 0)
		r = socket_listen(socket_path, &self->listen_fd, err);
	if (r == 0)
		r = pager_take_over(&self->pager, &self->loop, &self->session.link, &places, take_fd(keeper_fd), err);
	if (r == 0)
		r = receive_add_sources(self, err);
	if (r == 0)
		log_info("took over from a killed pager", "container=%s pages=%llu", self->offer->container_id,
			 (unsigned long long) self->pager.pages_total);
	return r == 0 ? receive_turn_until_over(self, err) : r;
}

enum receive_outcome receive_take_over(const char *work, int keeper_fd, int patience_ms, struct error *err)
{
	struct receive_spec spec = {.connection_fd = FD_NONE, .progress_fd = FD_NONE, .patience_ms = patience_ms};
	struct receiver self = {.spec = &spec, .progress = {.fd = FD_NONE, .phase = migration_phase(TARGET_PAGING)->name}, .verdict = VERDICT_NONE, .layer_fd = FD_NONE, .packets_fd = FD_NONE,
				.listen_fd = FD_NONE, .restore_fd = FD_NONE, .keeper_fd = FD_NONE, .lower_fd = FD_NONE, .lower_sink = {.root_fd = FD_NONE, .file_fd = FD_NONE}, .stage = STAGE_PAGING,
				.is_source_lost = true, .sink = {.root_fd = FD_NONE, .file_fd = FD_NONE}};
	Hydra__V1__HandoverRecord *record = NULL;
	auto_close int keeper = keeper_fd;
	int r;

	self.session.signal_fd = self.session.link.transport.fd = self.fault_link.transport.fd = FD_NONE;
	self.work = text_copy(work);
	self.images = text_format("%s/images", work);
	r = load(&self, &record, err);
	if (r == 0 && self.record.state == HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE)
		pager_take_over_complete(keeper); /* the worker died between the last page and telling so */
	else if (r == 0)
		r = serve(&self, &keeper, err);
	if (r == 0)
		receive_conclude(&self);
	else if (self.is_acknowledged)
		receive_forget(&self);
	receive_clean_up(&self);
	hydra__v1__handover_record__free_unpacked(record, NULL);
	return r < 0 ? RECEIVE_BROKEN : RECEIVE_DONE;
}
