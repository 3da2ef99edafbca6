/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/pager_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/uffd.h"

#define VERSION       1U
#define JOURNAL_BYTES (64UL << 20) /* sparse: two million messages */
#define ROOM_BYTES    (UFFD_EVENTS_MAX * UFFD_MESSAGE_BYTES)

struct journal_head {
	uint32_t version;
	uint32_t is_useless;
	uint64_t size; /* of complete entries; grows with one store */
};

static int map_file(struct pager_journal *self, int fd, const char *path, struct error *err)
{
	void *map = mmap(NULL, JOURNAL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return fail_errno(err, errno, "map '%s'", path);
	*self = (struct pager_journal){.map = map};
	return 0;
}

int pager_journal_make(struct pager_journal *self, const char *folder, struct error *err)
{
	auto_free char *path = text_format("%s/" PAGER_JOURNAL, folder);
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r;

	if (fd < 0 || ftruncate(fd, JOURNAL_BYTES) < 0)
		return fail_errno(err, errno, "make '%s'", path);
	r = map_file(self, fd, path, err);
	if (r == 0)
		self->map->version = VERSION;
	return r;
}

int pager_journal_open(struct pager_journal *self, const char *folder, struct error *err)
{
	auto_free char *path = text_format("%s/" PAGER_JOURNAL, folder);
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat status;
	int r;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "open '%s'", path);
	if (status.st_size != JOURNAL_BYTES)
		return fail_because(err, EPROTO, "'%s' has a wrong size", path);
	r = map_file(self, fd, path, err);
	if (r == 0 && (self->map->version != VERSION || self->map->is_useless != 0 || self->map->size > JOURNAL_BYTES)) {
		pager_journal_close(self);
		return fail_because(err, EPROTO, "'%s' is of no use", path);
	}
	return r;
}

void pager_journal_close(struct pager_journal *self)
{
	if (self->map != NULL)
		(void) munmap(self->map, JOURNAL_BYTES);
	self->map = NULL;
}

static unsigned char *at(const struct pager_journal *self, size_t offset)
{
	return (unsigned char *) (self->map + 1) + offset;
}

/* Zeroed with what is behind it: a reader must not find there what an entry that was given up has left. */
static struct journal_entry *begin(struct pager_journal *self, size_t payload)
{
	size_t needed = 2 * sizeof(struct journal_entry) + payload;
	struct journal_entry *entry;

	if (self->map == NULL || self->map->is_useless != 0)
		return NULL;
	if (sizeof(struct journal_head) + self->map->size + needed > JOURNAL_BYTES) {
		self->map->is_useless = 1;
		return NULL;
	}
	entry = (void *) at(self, self->map->size);
	memset(entry, 0, needed);
	return entry;
}

static void end(struct pager_journal *self, const struct journal_entry *entry)
{
	__atomic_store_n(&self->map->size, self->map->size + sizeof(*entry) + (size_t) entry->count * UFFD_MESSAGE_BYTES,
			 __ATOMIC_RELEASE);
}

void *pager_journal_room(struct pager_journal *self, uint32_t space)
{
	static _Alignas(8) unsigned char elsewhere[ROOM_BYTES];
	struct journal_entry *entry = begin(self, ROOM_BYTES);

	if (entry == NULL)
		return elsewhere;
	entry->space = space;
	entry->kind = JOURNAL_EVENTS;
	return entry + 1;
}

void pager_journal_keep(struct pager_journal *self, size_t count)
{
	struct journal_entry *entry;

	if (self->map == NULL || self->map->is_useless != 0)
		return;
	entry = (void *) at(self, self->map->size);
	entry->count = (uint32_t) count;
	end(self, entry);
}

void pager_journal_kept(struct pager_journal *self, uint32_t space, uint32_t task)
{
	struct journal_entry *entry = begin(self, 0);

	if (entry == NULL)
		return;
	entry->space = space;
	entry->task = task;
	entry->kind = JOURNAL_KEPT;
}

void pager_journal_kept_done(struct pager_journal *self)
{
	pager_journal_keep(self, 0);
}

bool pager_journal_next(const struct pager_journal *self, size_t *cursor, struct journal_entry *ret_entry,
			const void **ret_messages, bool *ret_is_begun)
{
	size_t left = JOURNAL_BYTES - sizeof(struct journal_head) - *cursor;
	const struct journal_entry *entry;

	if (*cursor > self->map->size)
		return false;
	entry = (void *) at(self, *cursor);
	if (left < sizeof(*entry) || (entry->kind != JOURNAL_EVENTS && entry->kind != JOURNAL_KEPT))
		return false;
	*ret_is_begun = *cursor == self->map->size;
	if (left < sizeof(*entry) + (*ret_is_begun && entry->kind == JOURNAL_EVENTS ? ROOM_BYTES : entry->count * UFFD_MESSAGE_BYTES))
		return false;
	*ret_entry = *entry;
	*ret_messages = entry + 1;
	if (*ret_is_begun && entry->kind == JOURNAL_EVENTS)
		ret_entry->count = (uint32_t) uffd_count(entry + 1);
	*cursor += sizeof(*entry) + (size_t) ret_entry->count * UFFD_MESSAGE_BYTES;
	if (*ret_is_begun)
		*cursor = SIZE_MAX / 2; /* the last one */
	return true;
}
