/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-copy at the target: each round is a folder of images, linked to the one before as CRIU expects it. Nothing of it is used before
 * the last images are complete.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/local_pages.h"
#include "checkpoint/rounds.h"

#define PARENT_LINK "parent" /* CRIU's name for it */

static int link_parent(int dir_fd, const char *target, struct error *err)
{
	return symlinkat(target, dir_fd, PARENT_LINK) < 0 ? fail_errno(err, errno, "link the images to '%s'", target) : 0;
}

static int take_round(struct receiver *self, struct error *err)
{
	auto_free char *path = text_format("%s/" ROUND_FOLDER "%" PRIu64, self->images, self->rounds + 1);
	auto_free char *parent = text_format("../" ROUND_FOLDER "%" PRIu64, self->rounds);
	auto_close int dir_fd = FD_NONE;
	int r = 0;

	if (mkdir(path, receive_images_mode(self)) < 0 || (dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return fail_errno(err, errno, "make '%s'", path);
	if (self->rounds > 0)
		r = link_parent(dir_fd, parent, err);
	if (r == 0)
		r = receive_image_files(self, dir_fd, err);
	self->rounds++;
	fault_point("receive.round");
	if (r == 0)
		r = session_say(&self->session, FRAME_ACKNOWLEDGED, self->offer->epoch, NULL, err);
	return r == 0 ? session_flush(&self->session, 0, err) : r;
}

/* 1: another round comes. */
static int next_round(struct receiver *self, struct error *err)
{
	Hydra__V1__HandoffStage *stage;
	struct frame frame;
	uint64_t number;
	int r = session_expect(&self->session, FRAME_ROUND, &frame, err);

	if (r < 0)
		return r;
	stage = hydra__v1__handoff_stage__unpack(NULL, frame.size, frame.data);
	number = stage != NULL ? stage->pages : UINT64_MAX;
	hydra__v1__handoff_stage__free_unpacked(stage, NULL);
	if (number != 0 && (number != self->rounds + 1 || number > ROUNDS_MAX))
		return fail_because(err, EPROTO, "rounds of pre-copy come out of order");
	return number != 0;
}

int receive_rounds(struct receiver *self, struct error *err)
{
	int r;

	progress_phase(&self->progress, TARGET_PRE_COPY, NULL, NULL);
	while ((r = next_round(self, err)) == 1) {
		r = take_round(self, err);
		if (r < 0)
			return r;
	}
	if (r == 0 && self->rounds == 0)
		return fail_because(err, EPROTO, "no round of pre-copy came");
	return r;
}

int receive_link_rounds(const struct receiver *self, int images_fd, struct error *err)
{
	auto_free char *parent = text_format(ROUND_FOLDER "%" PRIu64, self->rounds);

	return self->rounds > 0 ? link_parent(images_fd, parent, err) : 0;
}

int receive_plan_local(const struct receiver *self, int images_fd, struct error *err)
{
	auto_free char *round = text_format(ROUND_FOLDER "%" PRIu64, self->rounds);

	return mode_is_lazy(self->mode) && self->rounds == 1 ? local_pages_plan(images_fd, round, err) : 0;
}
