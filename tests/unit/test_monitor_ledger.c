/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/ledger_file.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE(name) HYDRA__V1__LEDGER_STATE__LEDGER_##name

static bool apply(struct ledger *ledger, const char *name, ledger_state state, uint64_t time_ns, pid_t pid)
{
	return ledger_apply(ledger, &(struct ledger_change){.name = name, .state = state, .time_ns = time_ns, .pid = pid, .why = "why"});
}

/* Nobody knows what became of it since then. */
static bool note_unseen(struct ledger *ledger, const char *name, uint64_t since_ns)
{
	return ledger_apply(ledger, &(struct ledger_change){.name = name, .state = STATE(UNKNOWN), .time_ns = since_ns, .why = LEDGER_UNSEEN});
}

/* As the next monitor does that finds the last one gone. */
static void begin_again(struct ledger *ledger, uint64_t now_ns, pid_t pid)
{
	(void) note_unseen(ledger, "monitor", ledger->last_ns);
	(void) apply(ledger, "monitor", STATE(UP), now_ns, pid);
}

static Hydra__V1__LedgerSubject view(const struct ledger *ledger, const char *name, uint64_t now_ns)
{
	Hydra__V1__LedgerSubject facts = HYDRA__V1__LEDGER_SUBJECT__INIT;
	const struct ledger_subject *subject = ledger_find(ledger, name);

	CHECK(subject != NULL);
	if (subject != NULL)
		ledger_view(subject, now_ns, 0, &facts);
	return facts;
}

TEST(time_is_counted_for_the_state_it_was_spent_in)
{
	struct ledger ledger;
	Hydra__V1__LedgerSubject seen;

	CHECK(ledger_init(&ledger));
	CHECK(apply(&ledger, "ns/web", STATE(UP), 100, 7));
	CHECK(apply(&ledger, "ns/web", STATE(DOWN), 150, 0));
	CHECK(apply(&ledger, "ns/web", STATE(UP), 180, 8));
	CHECK(apply(&ledger, "ns/web", STATE(UNREACHABLE), 200, 0));
	seen = view(&ledger, "ns/web", 240);
	CHECK(seen.up_ns == 70 && seen.down_ns == 30 && seen.unreachable_ns == 40 && seen.unknown_ns == 0);
	CHECK(seen.restarts == 1 && seen.repairs == 1 && seen.mean_repair_ns == 30 && seen.broken_since_ns == 200);
	CHECK(apply(&ledger, "ns/web", STATE(UP), 290, 0));
	seen = view(&ledger, "ns/web", 290);
	CHECK(seen.restarts == 1 && seen.repairs == 2 && seen.mean_repair_ns == 60 && seen.pid == 8);
	CHECK(ledger.interval_count == 4 && ledger.shims.restarts == 1 && ledger.shims.repairs == 2 && ledger.shims.repair_ns == 120);
	ledger_deinit(&ledger);
}

TEST(what_changes_nothing_is_no_change)
{
	struct ledger ledger;

	CHECK(ledger_init(&ledger));
	CHECK(apply(&ledger, "daemon", STATE(UP), 100, 7));
	CHECK(!apply(&ledger, "daemon", STATE(UP), 110, 7) && !apply(&ledger, "daemon", STATE(UP), 120, 0));
	CHECK(apply(&ledger, "daemon", STATE(UP), 130, 8) && view(&ledger, "daemon", 130).restarts == 1);
	CHECK(ledger.shims.restarts == 0);
	ledger_deinit(&ledger);
}

TEST(who_has_ended_is_neither_up_nor_down_and_begins_without_a_restart)
{
	struct ledger ledger;
	Hydra__V1__LedgerSubject seen;

	CHECK(ledger_init(&ledger));
	CHECK(apply(&ledger, "ns/web", STATE(UP), 100, 7) && apply(&ledger, "ns/web", STATE(ENDED), 110, 0));
	CHECK(apply(&ledger, "ns/web", STATE(UP), 500, 9));
	seen = view(&ledger, "ns/web", 520);
	CHECK(seen.up_ns == 30 && seen.down_ns == 0 && seen.restarts == 0 && seen.repairs == 0);
	ledger_deinit(&ledger);
}

TEST(a_lost_monitor_is_unknown_until_somebody_tells_when_it_went)
{
	struct ledger ledger;
	Hydra__V1__LedgerSubject seen;

	CHECK(ledger_init(&ledger));
	CHECK(apply(&ledger, "monitor", STATE(UP), 100, 5));
	begin_again(&ledger, 900, 6);
	seen = view(&ledger, "monitor", 900);
	CHECK(seen.up_ns == 0 && seen.unknown_ns == 800 && seen.down_ns == 0 && seen.repairs == 0 && seen.restarts == 1);
	CHECK(ledger_lost(&ledger, 700));
	seen = view(&ledger, "monitor", 950);
	CHECK(seen.up_ns == 650 && seen.unknown_ns == 0 && seen.down_ns == 200 && seen.repairs == 1 && seen.mean_repair_ns == 200);
	/* who was stopped meanwhile saw it later, who was not may say so later */
	CHECK(!ledger_lost(&ledger, 800) && !ledger_lost(&ledger, 700) && ledger_lost(&ledger, 690));
	seen = view(&ledger, "monitor", 950);
	CHECK(seen.up_ns == 640 && seen.down_ns == 210 && seen.repairs == 1 && seen.mean_repair_ns == 210);
	CHECK(!ledger_lost(&ledger, 50) && !ledger_lost(&ledger, 901));
	ledger_deinit(&ledger);
}

TEST(what_died_unseen_is_unknown_only_since_the_monitor_went)
{
	struct ledger ledger;
	Hydra__V1__LedgerSubject seen;

	CHECK(ledger_init(&ledger));
	CHECK(apply(&ledger, "monitor", STATE(UP), 100, 5) && apply(&ledger, "ns/web", STATE(UP), 120, 7));
	begin_again(&ledger, 900, 6);
	CHECK(note_unseen(&ledger, "ns/web", 120));
	CHECK(apply(&ledger, "ns/web", STATE(DOWN), 900, 0) && apply(&ledger, "ns/web", STATE(UP), 910, 8));
	CHECK(ledger_lost(&ledger, 800));
	seen = view(&ledger, "ns/web", 910);
	CHECK(seen.up_ns == 680 && seen.unknown_ns == 100 && seen.down_ns == 10 && seen.restarts == 1 && seen.repairs == 1);
	ledger_deinit(&ledger);
}

static bool always(const struct ledger_subject *subject, void *context)
{
	(void) subject;
	(void) context;
	return true;
}

TEST(it_is_bounded)
{
	struct ledger ledger;
	char name[32];

	CHECK(ledger_init(&ledger));
	for (unsigned i = 0; i < LEDGER_SUBJECTS_MAX + 10; i++) {
		(void) snprintf(name, sizeof(name), "ns/c%u", i);
		CHECK(apply(&ledger, name, STATE(UP), 100 + i, 7) && apply(&ledger, name, STATE(ENDED), 100 + i, 0));
	}
	CHECK(ledger.subject_count == LEDGER_SUBJECTS_MAX && ledger_find(&ledger, "ns/c9") == NULL && ledger_find(&ledger, "ns/c10") != NULL);
	CHECK(ledger.interval_count - ledger_first_interval(&ledger) == LEDGER_INTERVALS_MAX);
	CHECK(apply(&ledger, "ns/c10", STATE(UP), 9000, 7));
	ledger_forget(&ledger, always, NULL);
	CHECK(ledger.subject_count == 1 && ledger_find(&ledger, "ns/c10") != NULL);
	ledger_deinit(&ledger);
}

static char folder[32];

static void folder_make(void)
{
	(void) snprintf(folder, sizeof(folder), "/tmp/hydra-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
}

static void folder_remove(void)
{
	struct error err;

	CHECK(dir_remove_all(AT_FDCWD, folder, &err) == 0);
}

static void change(struct ledger_file *file, struct ledger *ledger, const char *name, ledger_state state, uint64_t time_ns, pid_t pid)
{
	Hydra__V1__LedgerFileEntry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;
	Hydra__V1__LedgerChange said = HYDRA__V1__LEDGER_CHANGE__INIT;
	char why[] = "why";
	struct error err;

	CHECK(apply(ledger, name, state, time_ns, pid));
	said.name = (char *) (uintptr_t) name;
	said.state = state;
	said.time_ns = time_ns;
	said.pid = pid;
	said.why = why;
	entry.change = &said;
	CHECK(ledger_file_append(file, ledger, &entry, &err) == 0);
}

static void check_reopened(const char *what, uint64_t up_ns, uint64_t intervals)
{
	struct ledger ledger;
	struct ledger_file file;
	struct error err;

	CHECK(ledger_init(&ledger) && ledger_file_open(&file, folder, &ledger, &err) == 0);
	printf("# %s\n", what);
	CHECK(view(&ledger, "ns/web", 1000).up_ns == up_ns && ledger.interval_count - ledger_first_interval(&ledger) == intervals);
	ledger_file_close(&file);
	ledger_deinit(&ledger);
}

TEST(the_file_says_again_what_was_known_also_when_its_end_is_torn)
{
	struct ledger ledger;
	struct ledger_file file;
	struct stat info;
	struct error err;

	folder_make();
	CHECK(ledger_init(&ledger) && ledger_file_open(&file, folder, &ledger, &err) == 0);
	change(&file, &ledger, "ns/web", STATE(UP), 100, 7);
	change(&file, &ledger, "ns/web", STATE(DOWN), 200, 0);
	change(&file, &ledger, "ns/web", STATE(UP), 300, 8);
	check_reopened("by changes", 800, 2);
	check_reopened("by sums", 800, 2);
	ledger_file_close(&file);
	ledger_deinit(&ledger);

	CHECK(ledger_init(&ledger) && ledger_file_open(&file, folder, &ledger, &err) == 0);
	change(&file, &ledger, "ns/web", STATE(DOWN), 900, 0);
	CHECK(stat(file.path, &info) == 0 && truncate(file.path, info.st_size - 3) == 0);
	check_reopened("torn", 800, 2);
	ledger_file_close(&file);
	ledger_deinit(&ledger);
	folder_remove();
}

TEST(the_file_stays_short)
{
	struct ledger ledger;
	struct ledger_file file;
	struct stat info = {0};
	struct error err;
	off_t largest = 0;

	folder_make();
	CHECK(ledger_init(&ledger) && ledger_file_open(&file, folder, &ledger, &err) == 0);
	for (uint64_t i = 1; i < 20000; i++) {
		change(&file, &ledger, "ns/web", i % 2 ? STATE(UP) : STATE(DOWN), i, 7);
		if (stat(file.path, &info) == 0 && info.st_size > largest)
			largest = info.st_size;
	}
	CHECK(largest <= 256 << 10);
	ledger_file_close(&file);
	ledger_deinit(&ledger);
	folder_remove();
}

static bool sample_load(const char *path, char **ret_data, size_t *ret_size)
{
	struct error err;

	return file_read(AT_FDCWD, path, 1 << 20, ret_data, ret_size, &err) == 0;
}

/* tests/unit/golden_make.c: make_ledger(). */
TEST(the_file_of_version_1_is_read_and_others_are_refused_by_name)
{
	auto_free char *data = NULL;
	struct ledger ledger;
	struct error err;
	size_t size = 0;

	CHECK(ledger_init(&ledger) && sample_load(GOLDEN_FOLDER "/ledger.1", &data, &size));
	CHECK(ledger_file_parse(&ledger, "another", (uint8_t *) data, size, &err) == -ESTALE && ledger.subjects == NULL);
	CHECK(ledger_file_parse(&ledger, "boot", (uint8_t *) data, size, &err) == (ssize_t) size);
	CHECK(ledger.shims.restarts == 1100 && ledger.shims.repairs == 1200 && ledger.shims.repair_ns == 1300);
	CHECK(view(&ledger, "name-0", 0).restarts == 1100 && view(&ledger, "name-0", 0).pid == 400);
	CHECK(ledger.interval_count == 2 && ledger_interval_at(&ledger, 0)->facts.to_ns == 400);
	CHECK(view(&ledger, "ns/web", 5000).state == STATE(UNREACHABLE) && view(&ledger, "ns/web", 5000).unreachable_ns == 2000);
	ledger_deinit(&ledger);
}

static bool add_migration(struct ledger *ledger, unsigned number, bool has_failed)
{
	Hydra__V1__LedgerMigration facts = HYDRA__V1__LEDGER_MIGRATION__INIT;
	auto_free char *id = text_format("m%u", number);

	facts.id = id;
	facts.name = facts.peer = (char *) (uintptr_t) "ns/web";
	facts.is_arrival = number % 2 == 1;
	facts.has_failed = has_failed;
	facts.downtime_us = 30000;
	facts.lazy_us = 2000000000;
	facts.stalls = 2;
	facts.stall_us = 50;
	facts.bytes = 1000;
	return migration_book_add(&ledger->migrations, &facts);
}

TEST(a_migration_is_counted_once_and_by_its_direction)
{
	struct ledger ledger;
	const struct migration_sums *out = &ledger.migrations.sums[0];

	CHECK(ledger_init(&ledger));
	CHECK(add_migration(&ledger, 0, false) && !add_migration(&ledger, 0, false) && add_migration(&ledger, 2, true));
	CHECK(add_migration(&ledger, 1, false));
	CHECK(out->done == 1 && out->failed == 1 && out->bytes == 2000 && out->stall_us == 100);
	CHECK(out->downtime.counts[3] == 1 && out->lazy.counts[MIGRATION_BUCKETS - 1] == 1 && out->stall_max.counts[0] == 1);
	CHECK(ledger.migrations.sums[1].done == 1);
	ledger_deinit(&ledger);
}

TEST(migrations_and_their_sums_survive_in_the_file)
{
	char place[] = "/tmp/hydra-ledger-XXXXXX";
	struct ledger first, second;
	struct ledger_file file;
	struct error err;

	CHECK(mkdtemp(place) != NULL && ledger_init(&first) && ledger_init(&second));
	for (unsigned i = 0; i < MIGRATIONS_KEPT + 10; i++)
		CHECK(add_migration(&first, i, false));
	CHECK(ledger_file_open(&file, place, &first, &err) == 0);
	ledger_file_close(&file);
	CHECK(ledger_file_open(&file, place, &second, &err) == 0);
	CHECK(second.migrations.sums[0].done == first.migrations.sums[0].done && second.migrations.count == MIGRATIONS_KEPT);
	CHECK(second.migrations.sums[1].lazy.sum_us == first.migrations.sums[1].lazy.sum_us);
	CHECK(!add_migration(&second, MIGRATIONS_KEPT, false) && add_migration(&second, 100000, false));
	ledger_file_close(&file);
	ledger_deinit(&first);
	ledger_deinit(&second);
	CHECK(dir_remove_all(AT_FDCWD, place, &err) == 0);
}
