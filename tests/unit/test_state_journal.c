/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "proto/message.h"
#include "state/journal.h"
#include "tests/unit/harness.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static char folder[32];

static int folder_open(void)
{
	(void) snprintf(folder, sizeof(folder), "/tmp/hydra-XXXXXX");
	return mkdtemp(folder) != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
}

static void folder_close(int fd)
{
	struct error err;

	(void) close(fd);
	CHECK(dir_remove_all(AT_FDCWD, folder, &err) == 0);
}

static int append(struct journal *journal, const char *type)
{
	event entry = HYDRA__V1__EVENT__INIT;
	struct error err;

	entry.type = (char *) (uintptr_t) type;
	return journal_append(journal, &entry, &err);
}

struct seen {
	uint64_t first, last;
	unsigned count;
};

static bool note(const event *entry, void *context)
{
	struct seen *seen = context;

	if (seen->count++ == 0)
		seen->first = entry->sequence;
	CHECK(seen->count == 1 || entry->sequence == seen->last + 1);
	seen->last = entry->sequence;
	return true;
}

TEST(events_are_replayed_from_any_number)
{
	int dir_fd = folder_open();
	struct journal journal;
	struct seen seen = {0};
	struct error err;

	CHECK(journal_open(&journal, dir_fd, &err) == 0);
	for (int i = 0; i < 10; i++)
		CHECK(append(&journal, "started") == 0);
	CHECK(journal_replay(dir_fd, 7, note, &seen, &err) == 0);
	CHECK(seen.count == 3 && seen.first == 8 && seen.last == 10);
	journal_close(&journal);
	folder_close(dir_fd);
}

TEST(a_torn_end_is_cut_off_and_numbers_go_on)
{
	int dir_fd = folder_open();
	struct journal journal;
	struct seen seen = {0};
	struct error err;
	off_t size;

	CHECK(journal_open(&journal, dir_fd, &err) == 0);
	CHECK(append(&journal, "created") == 0 && append(&journal, "started") == 0);
	size = (off_t) journal.size;
	CHECK(append(&journal, "exited") == 0);
	CHECK(ftruncate(journal.fd, (off_t) journal.size - 1) == 0);
	journal_close(&journal);
	CHECK(journal_open(&journal, dir_fd, &err) == 0);
	CHECK(journal.last_sequence == 2 && journal.size == (uint64_t) size);
	CHECK(append(&journal, "exited") == 0);
	CHECK(journal_replay(dir_fd, 0, note, &seen, &err) == 0 && seen.count == 3);
	journal_close(&journal);
	folder_close(dir_fd);
}

TEST(a_full_journal_forgets_its_older_half_and_keeps_its_numbers)
{
	int dir_fd = folder_open();
	struct journal journal;
	struct seen seen = {0};
	struct error err;

	CHECK(journal_open(&journal, dir_fd, &err) == 0);
	for (int i = 0; i < 10000; i++)
		CHECK(append(&journal, "something-that-takes-room") == 0);
	journal_close(&journal);
	CHECK(journal_replay(dir_fd, 0, note, &seen, &err) == 0);
	CHECK(seen.last == 10000 && seen.count < 5000 && seen.count > 500);
	CHECK(journal_open(&journal, dir_fd, &err) == 0 && journal.last_sequence == 10000);
	journal_close(&journal);
	folder_close(dir_fd);
}
