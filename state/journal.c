/* SPDX-License-Identifier: Apache-2.0 */
#include "state/journal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "proto/message.h"
#include "state/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

size_t journal_parse(const uint8_t *bytes, size_t size, journal_visitor *visit, void *context)
{
	const uint8_t *data;
	size_t at = 0, entry_size;

	while (entry_read(bytes + at, size - at, JOURNAL_ENTRY_MAX, &data, &entry_size)) {
		auto_message event *entry = (event *) (void *) message_decode(&hydra__v1__event__descriptor, data, entry_size);

		if (entry == NULL)
			break;
		at += ENTRY_HEADER_SIZE + entry_size;
		if (!visit(entry, context))
			break;
	}
	return at;
}

static int read_file(int dir_fd, const char *name, char **ret_data, size_t *ret_size, struct error *err)
{
	int r = file_read(dir_fd, name, 2 * JOURNAL_FILE_MAX, ret_data, ret_size, err);

	if (r == -ENOENT) {
		*ret_data = calloc(1, 1);
		*ret_size = 0;
		return *ret_data != NULL ? 0 : fail_errno(err, ENOMEM, "read the journal");
	}
	return r;
}

static bool note_sequence(const event *entry, void *context)
{
	*(uint64_t *) context = entry->sequence;
	return true;
}

int journal_open(struct journal *ret_self, int dir_fd, struct error *err)
{
	struct journal self = {.dir_fd = dir_fd, .fd = FD_NONE};
	auto_free char *older = NULL;
	auto_free char *data = NULL;
	auto_close int fd = openat(dir_fd, "journal", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	size_t size;
	int r = fd < 0 ? fail_errno(err, errno, "open the journal") : read_file(dir_fd, "journal.1", &older, &size, err);

	if (r < 0)
		return r;
	(void) journal_parse((uint8_t *) older, size, note_sequence, &self.last_sequence);
	r = read_file(dir_fd, "journal", &data, &size, err);
	if (r < 0)
		return r;
	self.size = journal_parse((uint8_t *) data, size, note_sequence, &self.last_sequence);
	if (self.size < size && ftruncate(fd, (off_t) self.size) < 0)
		return fail_errno(err, errno, "cut the torn end off the journal");
	self.fd = take_fd(&fd);
	*ret_self = self;
	return 0;
}

void journal_close(struct journal *self)
{
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
}

static int rotate(struct journal *self, struct error *err)
{
	auto_close int fd = FD_NONE;

	if (renameat(self->dir_fd, "journal", self->dir_fd, "journal.1") < 0)
		return fail_errno(err, errno, "rotate the journal");
	fd = openat(self->dir_fd, "journal", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(err, errno, "open the journal");
	journal_close(self);
	self->fd = take_fd(&fd);
	self->size = 0;
	return 0;
}

int journal_append(struct journal *self, event *new_event, struct error *err)
{
	uint8_t bytes[ENTRY_HEADER_SIZE + JOURNAL_ENTRY_MAX];
	size_t size;
	int r = self->size >= JOURNAL_FILE_MAX ? rotate(self, err) : 0;

	if (r < 0)
		return r;
	new_event->sequence = self->last_sequence + 1;
	if (new_event->time_ns == 0)
		new_event->time_ns = clock_realtime_ns();
	size = protobuf_c_message_get_packed_size(&new_event->base);
	if (size > JOURNAL_ENTRY_MAX)
		return fail_because(err, EMSGSIZE, "event of %zu bytes does not fit the journal", size);
	(void) protobuf_c_message_pack(&new_event->base, bytes + ENTRY_HEADER_SIZE);
	entry_seal(bytes, size);
	r = fd_write_full(self->fd, bytes, ENTRY_HEADER_SIZE + size);
	if (r < 0) {
		/* a part may be there: without this the next entry would stand behind rubbish */
		(void) !ftruncate(self->fd, (off_t) self->size);
		return fail_errno(err, -r, "write the journal");
	}
	self->size += ENTRY_HEADER_SIZE + size;
	self->last_sequence++;
	return 0;
}

struct replay {
	uint64_t since;
	journal_visitor *visit;
	void *context;
	bool has_stopped;
};

static bool replay_entry(const event *entry, void *context)
{
	struct replay *self = context;

	if (entry->sequence <= self->since)
		return true;
	self->since = entry->sequence;
	self->has_stopped = !self->visit(entry, self->context);
	return !self->has_stopped;
}

int journal_replay(int dir_fd, uint64_t since, journal_visitor *visit, void *context, struct error *err)
{
	static const char *const names[] = {"journal.1", "journal"};
	struct replay replay = {.since = since, .visit = visit, .context = context};

	for (size_t i = 0; i < 2 && !replay.has_stopped; i++) {
		auto_free char *data = NULL;
		size_t size;
		int r = read_file(dir_fd, names[i], &data, &size, err);

		if (r < 0)
			return r;
		(void) journal_parse((uint8_t *) data, size, replay_entry, &replay);
	}
	return 0;
}
