/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "checkpoint/pager_journal.h"
#include "checkpoint/uffd.h"
#include "tests/unit/harness.h"

static char folder[64];

static struct pager_journal made(void)
{
	struct pager_journal journal = {0};
	struct error err;

	(void) snprintf(folder, sizeof(folder), "/tmp/journal-XXXXXX");
	CHECK(mkdtemp(folder) != NULL && pager_journal_make(&journal, folder, &err) == 0);
	return journal;
}

static void removed(struct pager_journal *journal)
{
	char path[128];

	pager_journal_close(journal);
	(void) snprintf(path, sizeof(path), "%s/" PAGER_JOURNAL, folder);
	CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

/* What the kernel does when it is read from. */
static void remove_pages(void *room, size_t number, uint64_t start)
{
	struct uffd_msg *message = (struct uffd_msg *) room + number;

	message->event = UFFD_EVENT_REMOVE;
	message->arg.remove.start = start;
	message->arg.remove.end = start + 4096;
}

static uint64_t start_of(const void *messages, size_t number)
{
	return ((const struct uffd_msg *) messages + number)->arg.remove.start;
}

TEST(another_process_finds_what_was_kept_in_its_order)
{
	struct pager_journal journal = made(), reader = {0};
	struct journal_entry entry;
	const void *messages;
	size_t cursor = 0;
	bool is_begun;
	struct error err;
	void *room;

	pager_journal_kept(&journal, 0, 7);
	pager_journal_kept_done(&journal);
	room = pager_journal_room(&journal, 3);
	remove_pages(room, 0, 0x1000);
	remove_pages(room, 1, 0x2000);
	pager_journal_keep(&journal, 2);
	CHECK(pager_journal_open(&reader, folder, &err) == 0);
	CHECK(pager_journal_next(&reader, &cursor, &entry, &messages, &is_begun));
	CHECK(entry.kind == JOURNAL_KEPT && entry.space == 0 && entry.task == 7 && !is_begun);
	CHECK(pager_journal_next(&reader, &cursor, &entry, &messages, &is_begun));
	CHECK(entry.kind == JOURNAL_EVENTS && entry.space == 3 && entry.count == 2 && !is_begun);
	CHECK(start_of(messages, 0) == 0x1000 && start_of(messages, 1) == 0x2000);
	CHECK(!pager_journal_next(&reader, &cursor, &entry, &messages, &is_begun));
	pager_journal_close(&reader);
	removed(&journal);
}

TEST(what_the_kernel_wrote_before_a_death_is_found_too)
{
	struct pager_journal journal = made();
	struct journal_entry entry;
	const void *messages;
	size_t cursor = 0;
	bool is_begun;

	remove_pages(pager_journal_room(&journal, 5), 0, 0x3000);
	CHECK(pager_journal_next(&journal, &cursor, &entry, &messages, &is_begun));
	CHECK(is_begun && entry.kind == JOURNAL_EVENTS && entry.space == 5 && entry.count == 1 && start_of(messages, 0) == 0x3000);
	CHECK(!pager_journal_next(&journal, &cursor, &entry, &messages, &is_begun));
	removed(&journal);
}

TEST(faults_that_were_not_kept_leave_nothing_behind)
{
	struct pager_journal journal = made();
	struct journal_entry entry;
	const void *messages;
	size_t cursor = 0;
	bool is_begun;
	void *room = pager_journal_room(&journal, 1);

	for (size_t i = 0; i < UFFD_EVENTS_MAX; i++)
		remove_pages(room, i, 0x9000);
	remove_pages(pager_journal_room(&journal, 1), 0, 0x1000);
	pager_journal_keep(&journal, 1);
	CHECK(pager_journal_next(&journal, &cursor, &entry, &messages, &is_begun) && entry.count == 1 && !is_begun);
	CHECK(!pager_journal_next(&journal, &cursor, &entry, &messages, &is_begun));
	removed(&journal);
}

TEST(a_descriptor_that_was_about_to_be_given_away_is_told_of)
{
	struct pager_journal journal = made();
	struct journal_entry entry;
	const void *messages;
	size_t cursor = 0;
	bool is_begun;

	pager_journal_kept(&journal, 2, 9);
	CHECK(pager_journal_next(&journal, &cursor, &entry, &messages, &is_begun));
	CHECK(entry.kind == JOURNAL_KEPT && entry.space == 2 && is_begun);
	removed(&journal);
}

TEST(without_a_journal_there_is_room_all_the_same)
{
	struct pager_journal none = {0};

	remove_pages(pager_journal_room(&none, 0), UFFD_EVENTS_MAX - 1, 0);
	pager_journal_keep(&none, UFFD_EVENTS_MAX);
	pager_journal_kept(&none, 0, 1);
	pager_journal_kept_done(&none);
	CHECK(none.map == NULL);
}

TEST(a_file_that_is_no_journal_is_refused)
{
	struct pager_journal journal = made(), reader = {0};
	struct error err;
	char path[128];

	(void) snprintf(path, sizeof(path), "%s/" PAGER_JOURNAL, folder);
	CHECK(truncate(path, 4096) == 0 && pager_journal_open(&reader, folder, &err) == -EPROTO);
	CHECK(pager_journal_open(&reader, "/nowhere", &err) == -ENOENT);
	removed(&journal);
}

TEST(a_full_journal_says_that_it_is_of_no_use)
{
	struct pager_journal journal = made(), reader = {0};
	struct error err;

	for (int i = 0; i < 40000; i++) {
		(void) pager_journal_room(&journal, 0);
		pager_journal_keep(&journal, UFFD_EVENTS_MAX);
	}
	CHECK(pager_journal_open(&reader, folder, &err) == -EPROTO);
	removed(&journal);
}
