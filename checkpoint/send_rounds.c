/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-copy at the source: the memory goes while the container runs, in rounds, each with what was written since the one before.
 * A failure here is the end of the migration and nothing to the container.
 */
#include "checkpoint/send.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/mode.h"
#include "checkpoint/rounds.h"

#define QUEUE_BYTES (1U << 20)

static bool is_sent_image(const char *name)
{
	return (text_has_suffix(name, ".img") && !text_has_prefix(name, "stats-")) || strcmp(name, METADATA_FILE) == 0;
}

static int send_image(struct sender_state *self, int dir_fd, const char *name, struct error *err)
{
	Hydra__V1__HandoffImage image = HYDRA__V1__HANDOFF_IMAGE__INIT;
	auto_close int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct link *link = &self->session.link;
	struct stat status;
	int r;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "open image '%s'", name);
	image.name = (char *) (uintptr_t) name;
	image.size = (uint64_t) status.st_size;
	r = link_queue_message(link, FRAME_IMAGE, &image, err);
	for (uint64_t left = image.size; left > 0 && r == 0;) {
		size_t part = left < FRAME_DATA_MAX ? (size_t) left : FRAME_DATA_MAX;
		void *room = link_reserve(link, FRAME_IMAGE_DATA, part);

		if (room == NULL)
			return fail_errno(err, ENOMEM, "send image '%s'", name);
		r = fd_read_full(fd, room, part);
		if (r < 0)
			return fail_errno(err, -r, "read image '%s'", name);
		left -= part;
		self->progress.bytes_done += part;
		progress_update(&self->progress);
		r = session_flush(&self->session, QUEUE_BYTES, err);
	}
	return r;
}

int send_images(struct sender_state *self, const char *path, struct error *err)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	int r = folder == NULL ? fail_errno(err, errno, "open '%s'", path) : 0;

	while (r == 0 && (entry = readdir(folder)) != NULL) {
		if (is_sent_image(entry->d_name))
			r = send_image(self, dirfd(folder), entry->d_name, err);
	}
	if (folder != NULL)
		(void) closedir(folder);
	if (r == 0)
		r = link_queue(&self->session.link, FRAME_IMAGES_DONE, NULL, 0, err);
	return r;
}

/* What the pages of a round take; from then on only what lists them is needed here. */
static uint64_t drop_pages(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	uint64_t bytes = 0;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		auto_close int fd = FD_NONE;
		struct stat status;

		if (!text_has_prefix(entry->d_name, "pages-"))
			continue;
		fd = openat(dirfd(folder), entry->d_name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && fstat(fd, &status) == 0 && ftruncate(fd, 0) == 0)
			bytes += (uint64_t) status.st_size;
	}
	if (folder != NULL)
		(void) closedir(folder);
	return bytes;
}

static int say_round(struct sender_state *self, uint64_t number, struct error *err)
{
	Hydra__V1__HandoffStage stage = HYDRA__V1__HANDOFF_STAGE__INIT;

	stage.epoch = self->spec->epoch;
	stage.pages = number;
	return link_queue_message(&self->session.link, FRAME_ROUND, &stage, err);
}

static int run_round(struct sender_state *self, const char *images, struct error *err)
{
	auto_free char *parent = text_format("../" ROUND_FOLDER "%u", self->rounds);
	struct dump_spec dump = {.criu = self->spec->criu, .id = self->spec->id, .init = self->spec->pid, .images = images, .holds = self->spec->holds,
				 .parent = self->rounds > 0 ? parent : NULL, .timeout_s = (int) ((self->spec->deadlines_ns[DEADLINE_FREEZE] + NS_PER_S - 1) / NS_PER_S)};
	struct frame frame;
	int r = dump_round(&dump, self->metadata, err);

	if (r == 0 && session_was_cancelled(&self->session))
		r = fail_because(err, ECANCELED, "the migration was cancelled");
	if (r == 0)
		r = say_round(self, self->rounds + 1, err);
	if (r == 0)
		r = send_images(self, images, err);
	fault_point("send.round");
	return r == 0 ? session_expect(&self->session, FRAME_ACKNOWLEDGED, &frame, err) : r;
}

static void tell_round(struct sender_state *self, const struct rounds *rounds, enum rounds_verdict verdict)
{
	auto_free char *message = text_format("round %u: %" PRIu64 " KiB; %s", rounds->done, rounds->bytes >> 10,
					      rounds_verdict_text(verdict));

	progress_phase(&self->progress, SOURCE_PRE_COPY, message, NULL);
}

int send_rounds(struct sender_state *self, struct error *err)
{
	bool is_hybrid = mode_is_lazy(self->mode);
	struct rounds rounds = {.limit = is_hybrid ? 1 : ROUNDS_USUAL, .downtime_ms = self->spec->downtime_ms};
	enum rounds_verdict verdict;

	progress_phase(&self->progress, SOURCE_PRE_COPY, NULL, NULL);
	do {
		auto_free char *images = text_format("%s/" ROUND_FOLDER "%u", self->spec->work, self->rounds + 1);
		uint64_t began = clock_monotonic_ns();

		if (run_round(self, images, err) < 0)
			return err->code;
		self->rounds++;
		verdict = rounds_add(&rounds, drop_pages(images), clock_monotonic_ns() - began);
		tell_round(self, &rounds, verdict);
	} while (verdict == ROUNDS_GO_ON);
	return say_round(self, 0, err);
}
