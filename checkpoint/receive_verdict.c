/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The word of this host on a migration that comes here: it is begun before anything is made, and found through a link in the
 * worker's folder by everybody who works there later.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/volumes_made.h"

#define LINK_NAME "verdict"

char *receive_verdict_path(const struct receiver *self)
{
	if (self->spec->verdicts == NULL)
		return text_format("%s/" LINK_NAME, self->work);
	return text_format("%s/%s", self->spec->verdicts, self->hello->migration_id);
}

int receive_begin_verdict(struct receiver *self, struct error *err)
{
	auto_free char *file = receive_verdict_path(self);
	auto_free char *link = text_format("%s/" LINK_NAME, self->work);
	int r;

	self->boot_id = verdict_boot_id();
	self->record.boot_id = self->boot_id;
	self->record.work = self->work;
	self->record.state = HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN;
	r = verdict_make(&self->verdict, self->spec->verdicts, &self->record, err);
	if (r == 0 && symlink(file, link) < 0)
		r = fail_errno(err, errno, "link '%s'", link);
	return r;
}

void receive_abort_verdict(struct receiver *self)
{
	struct error err;

	/* without it, who asks finds that nobody works on it any more, and then says the same */
	if (self->verdict.fd >= 0 &&
	    verdict_write(&self->verdict, &self->record, HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED, &err) < 0)
		log_warning("end of the migration not recorded", "container=%s reason=\"%s\"", self->offer->container_id, err.message);
}

bool receive_never_ran(struct receiver *self)
{
	return self->stage < STAGE_COMMITTED || (self->stage == STAGE_COMMITTED && local_claim(self->work, "aborted"));
}

void receive_forget(struct receiver *self)
{
	auto_free char *path = receive_verdict_path(self);
	auto_free char *file = realpath(path, NULL);
	struct error ignored;

	volumes_made_undo(self->work); /* of one that never ran */
	(void) dir_remove_all(AT_FDCWD, self->work, &ignored);
	if (file != NULL)
		(void) unlink(file);
}

static int poison(struct receiver *self, struct error *err)
{
	uint64_t pages;
	int r = pager_poison(&self->pager, &pages, err);

	if (r == 0)
		log_error("memory lost in a migration; who touches it gets SIGBUS", "container=%s pages=%llu", self->offer->container_id,
			  (unsigned long long) pages);
	return r;
}

void receive_lose_memory(struct receiver *self, enum local_loss loss)
{
	struct error err;
	bool is_poisoned = false;

	self->is_acknowledged = loss == LOSS_OF_SOURCE;
	while (loss != LOSS_OF_COPY && pager_place_local(&self->pager))
		continue; /* this the source can't lose */
	if (loss != LOSS_OF_COPY && pager_is_complete(&self->pager))
		return;
	receive_note_loss(self);
	/* nobody else could end the tasks before the last descriptor closes and zeros come in */
	if ((self->record.lost_pages == HYDRA__V1__LOST_PAGES__LOST_PAGES_POISON && loss != LOSS_OF_COPY) || self->pager.keeper_fd < 0)
		is_poisoned = poison(self, &err) == 0;
	if (is_poisoned)
		return;
	(void) pager_give_up(&self->pager);
	(void) fail_because(&self->error, ENOTRECOVERABLE, "the source has lost the container's memory");
	self->has_failed = true;
}

void receive_note_loss(struct receiver *self)
{
	auto_free char *path = text_format("%s/" LOST_FILE, self->work);
	struct error err;

	if (file_replace_fast(AT_FDCWD, path, "", 0, 0600, &err) < 0)
		log_warning("loss of memory not noted", "container=%s reason=\"%s\"", self->offer->container_id, err.message);
}
