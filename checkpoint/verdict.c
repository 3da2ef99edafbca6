/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/phases.h"
#include "state/crc32c.h"

#define VERDICT_VERSION 1U
#define PLACE_SIZE      4096U
#define PLACES          2U
#define PLACE_MAGIC     0x56445948U /* "HYDV" */

/* In front of a packed HandoverRecord; numbers as this machine has them. */
struct place {
	uint32_t magic;
	uint32_t checksum; /* of what follows, up to the end of the record */
	uint32_t sequence;
	uint32_t size;
};

#define CHECKED_FROM offsetof(struct place, sequence)

static const Hydra__V1__HandoverState forgettable[] = {HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN,
						       HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED,
						       HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE};

static int encode(const Hydra__V1__HandoverRecord *record, uint32_t sequence, uint8_t *room)
{
	struct place place = {.magic = PLACE_MAGIC, .sequence = sequence};
	size_t size = hydra__v1__handover_record__get_packed_size(record);

	if (size > PLACE_SIZE - sizeof(place))
		return -E2BIG;
	memset(room, 0, PLACE_SIZE);
	place.size = (uint32_t) size;
	(void) hydra__v1__handover_record__pack(record, room + sizeof(place));
	memcpy(room, &place, sizeof(place));
	place.checksum = crc32c(room + CHECKED_FROM, sizeof(place) - CHECKED_FROM + size);
	memcpy(room, &place, sizeof(place));
	return 0;
}

static bool is_whole(const uint8_t *data, struct place *ret_place)
{
	memcpy(ret_place, data, sizeof(*ret_place));
	return ret_place->magic == PLACE_MAGIC && ret_place->size <= PLACE_SIZE - sizeof(*ret_place) &&
	       crc32c(data + CHECKED_FROM, sizeof(*ret_place) - CHECKED_FROM + ret_place->size) == ret_place->checksum;
}

int verdict_decode(const uint8_t *data, size_t size, Hydra__V1__HandoverRecord **ret_record, uint32_t *ret_sequence)
{
	const uint8_t *newest = NULL;
	struct place place, best = {0};

	for (size_t at = 0; at + PLACE_SIZE <= size && at < PLACES * (size_t) PLACE_SIZE; at += PLACE_SIZE) {
		if (is_whole(data + at, &place) && (newest == NULL || place.sequence > best.sequence)) {
			newest = data + at;
			best = place;
		}
	}
	*ret_record = newest == NULL ? NULL : hydra__v1__handover_record__unpack(NULL, best.size, newest + sizeof(best));
	*ret_sequence = best.sequence;
	if (*ret_record != NULL && (*ret_record)->version == VERDICT_VERSION)
		return 0;
	hydra__v1__handover_record__free_unpacked(*ret_record, NULL);
	*ret_record = NULL;
	return -EPROTO;
}

static int read_record(int fd, Hydra__V1__HandoverRecord **ret_record, uint32_t *ret_sequence)
{
	uint8_t data[PLACES * PLACE_SIZE];
	ssize_t got = pread(fd, data, sizeof(data), 0);

	return got < 0 ? -errno : verdict_decode(data, (size_t) got, ret_record, ret_sequence);
}

static bool may_be_forgotten(int dir_fd, const char *name)
{
	auto_close int fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	Hydra__V1__HandoverRecord *record = NULL;
	uint32_t sequence;
	bool may = false;

	if (fd < 0 || file_is_locked(fd) || read_record(fd, &record, &sequence) < 0)
		return false;
	for (size_t i = 0; i < sizeof(forgettable) / sizeof(forgettable[0]); i++)
		may |= record->state == forgettable[i];
	hydra__v1__handover_record__free_unpacked(record, NULL);
	return may;
}

char *verdict_boot_id(void)
{
	auto_free char *text = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, NULL, &ignored) < 0)
		return text_copy("");
	text[strcspn(text, "\n")] = '\0';
	return text_copy(text);
}

/* Both places have their space on the disk when this is done. */
static int make_file(int dir_fd, Hydra__V1__HandoverRecord *record, struct error *err)
{
	uint8_t data[PLACES * PLACE_SIZE] = {0};
	int r = encode(record, 1, data);

	memset(data + PLACE_SIZE, 0xff, PLACE_SIZE); /* zeros may be left out */
	if (r < 0)
		return fail_errno(err, -r, "record the migration '%s'", record->migration_id);
	return file_replace(dir_fd, record->migration_id, data, sizeof(data), 0600, err);
}

int verdict_make(struct verdict *self, const char *folder, Hydra__V1__HandoverRecord *record, struct error *err)
{
	auto_close int dir_fd = FD_NONE;
	int r = dir_make_all(folder, 0700, err);

	if (r == 0 && (dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = fail_errno(err, errno, "open '%s'", folder);
	if (r < 0)
		return r;
	if (path_exists(dir_fd, record->migration_id))
		return fail_because(err, EEXIST, "migration '%s' has been here before", record->migration_id);
	dir_forget_oldest(dir_fd, "", VERDICTS_KEPT, may_be_forgotten);
	record->version = VERDICT_VERSION;
	record->written_ns = clock_realtime_ns();
	migration_record_point(SIDE_TARGET, record->state, false);
	r = make_file(dir_fd, record, err);
	if (r < 0)
		return r;
	migration_record_point(SIDE_TARGET, record->state, true);
	self->sequence = 1;
	self->fd = openat(dir_fd, record->migration_id, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	r = self->fd < 0 ? -errno : file_lock_fd(self->fd, false);
	return r < 0 ? fail_errno(err, -r, "lock '%s/%s'", folder, record->migration_id) : 0;
}

int verdict_open(struct verdict *self, const char *path, Hydra__V1__HandoverRecord **ret_record, bool *ret_is_locked, struct error *err)
{
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0)
		return fail_errno(err, errno, "open '%s'", path);
	*ret_is_locked = file_lock_fd(fd, false) < 0;
	r = read_record(fd, ret_record, &self->sequence);
	if (r < 0)
		return fail_because(err, -r, "'%s' is not understood", path);
	self->fd = take_fd(&fd);
	return 0;
}

bool verdict_is_aborted(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	Hydra__V1__HandoverRecord *record = NULL;
	uint32_t sequence;
	bool is_aborted = false;

	if (fd >= 0 && read_record(fd, &record, &sequence) == 0)
		is_aborted = record->state == HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED;
	hydra__v1__handover_record__free_unpacked(record, NULL);
	return is_aborted;
}

int verdict_write(struct verdict *self, Hydra__V1__HandoverRecord *record, Hydra__V1__HandoverState state, struct error *err)
{
	uint8_t room[PLACE_SIZE];
	uint32_t sequence = self->sequence + 1;
	off_t at = (off_t) ((sequence + 1) % PLACES * PLACE_SIZE);
	int r;

	record->version = VERDICT_VERSION;
	record->state = state;
	record->written_ns = clock_realtime_ns();
	r = encode(record, sequence, room);
	migration_record_point(SIDE_TARGET, state, false);
	if (r == 0 && pwrite(self->fd, room, sizeof(room), at) != (ssize_t) sizeof(room))
		r = errno != 0 ? -errno : -EIO;
	if (r == 0 && fdatasync(self->fd) < 0)
		r = -errno;
	if (r < 0)
		return fail_errno(err, -r, "record the hand-over of '%s'", record->container_id);
	self->sequence = sequence;
	migration_record_point(SIDE_TARGET, state, true);
	return 0;
}

void verdict_close(struct verdict *self)
{
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
}
