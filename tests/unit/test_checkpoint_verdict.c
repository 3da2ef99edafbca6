/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "checkpoint/deadlines.h"
#include "checkpoint/departure.h"
#include "checkpoint/handover.h"
#include "checkpoint/local.h"
#include "checkpoint/verdict.h"
#include "tests/unit/harness.h"

#define PLACE_BYTES 4096

static char folder[64];
static char path[128];
static struct error err;

static Hydra__V1__HandoverRecord begun(void)
{
	Hydra__V1__HandoverRecord record = HYDRA__V1__HANDOVER_RECORD__INIT;

	record.migration_id = (char *) (uintptr_t) "move-1";
	record.container_id = (char *) (uintptr_t) "web";
	record.epoch = 3;
	record.state = HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN;
	return record;
}

static struct verdict made(Hydra__V1__HandoverRecord *record)
{
	struct verdict verdict = VERDICT_NONE;

	(void) snprintf(folder, sizeof(folder), "/tmp/verdict-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	(void) snprintf(path, sizeof(path), "%s/move-1", folder);
	CHECK(verdict_make(&verdict, folder, record, &err) == 0);
	return verdict;
}

static void removed(struct verdict *verdict)
{
	verdict_close(verdict);
	CHECK(dir_remove_all(AT_FDCWD, folder, &err) == 0);
}

static int state_of(void)
{
	struct verdict verdict = VERDICT_NONE;
	Hydra__V1__HandoverRecord *record = NULL;
	bool is_locked;
	int state = verdict_open(&verdict, path, &record, &is_locked, &err);

	if (state == 0) {
		CHECK(record->epoch == 3 && strcmp(record->container_id, "web") == 0);
		state = (int) record->state;
	}
	hydra__v1__handover_record__free_unpacked(record, NULL);
	verdict_close(&verdict);
	return state;
}

TEST(each_word_replaces_the_one_before)
{
	Hydra__V1__HandoverRecord record = begun();
	struct verdict verdict = made(&record);

	CHECK(state_of() == HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN);
	CHECK(verdict_write(&verdict, &record, HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED, &err) == 0);
	CHECK(state_of() == HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED);
	CHECK(verdict_write(&verdict, &record, HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE, &err) == 0);
	CHECK(state_of() == HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE);
	removed(&verdict);
}

TEST(a_word_that_was_torn_leaves_the_one_before)
{
	Hydra__V1__HandoverRecord record = begun();
	struct verdict verdict = made(&record);

	CHECK(verdict_write(&verdict, &record, HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED, &err) == 0);
	CHECK(pwrite(verdict.fd, "torn", 4, PLACE_BYTES + 20) == 4); /* the second place, which was written last */
	CHECK(state_of() == HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN);
	CHECK(pwrite(verdict.fd, "torn", 4, 20) == 4);
	CHECK(state_of() == -EPROTO);
	removed(&verdict);
}

TEST(who_only_looks_need_not_lock_it)
{
	Hydra__V1__HandoverRecord record = begun();
	struct verdict verdict = made(&record);

	CHECK(!verdict_is_aborted(path));
	CHECK(verdict_write(&verdict, &record, HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED, &err) == 0);
	CHECK(verdict_is_aborted(path));
	CHECK(pwrite(verdict.fd, "torn", 4, 20) == 4 && pwrite(verdict.fd, "torn", 4, PLACE_BYTES + 20) == 4);
	CHECK(!verdict_is_aborted(path));
	removed(&verdict);
	CHECK(!verdict_is_aborted(path));
}

TEST(who_works_on_it_has_it_locked)
{
	Hydra__V1__HandoverRecord record = begun(), *seen = NULL;
	struct verdict verdict = made(&record), other = VERDICT_NONE, again = VERDICT_NONE;
	bool is_locked = false;

	CHECK(verdict_open(&other, path, &seen, &is_locked, &err) == 0 && is_locked);
	hydra__v1__handover_record__free_unpacked(seen, NULL);
	verdict_close(&other);
	verdict_close(&verdict);
	CHECK(verdict_open(&other, path, &seen, &is_locked, &err) == 0 && !is_locked);
	hydra__v1__handover_record__free_unpacked(seen, NULL);
	CHECK(verdict_make(&again, folder, &record, &err) == -EEXIST);
	removed(&other);
}

TEST(there_are_never_too_many)
{
	Hydra__V1__HandoverRecord record = begun();
	struct verdict first = made(&record);
	size_t left = 0;

	verdict_close(&first);
	for (int i = 0; i < VERDICTS_KEPT + 8; i++) {
		struct verdict verdict = VERDICT_NONE;
		char name[32];

		(void) snprintf(name, sizeof(name), "other-%d", i);
		record.migration_id = name;
		CHECK(verdict_make(&verdict, folder, &record, &err) == 0);
		verdict_close(&verdict);
	}
	for (int i = 0; i < VERDICTS_KEPT + 8; i++) {
		(void) snprintf(path, sizeof(path), "%s/other-%d", folder, i);
		left += path_exists(AT_FDCWD, path);
	}
	CHECK(left <= VERDICTS_KEPT + 1 && left > VERDICTS_KEPT - 8);
	removed(&first);
}

TEST(only_the_first_one_decides_the_fate)
{
	Hydra__V1__HandoverRecord record = begun();
	struct verdict verdict = made(&record);

	CHECK(local_claim(folder, "resumed"));
	CHECK(!local_claim(folder, "aborted"));
	CHECK(!local_claim("/nowhere", "resumed"));
	removed(&verdict);
}

TEST(a_departure_is_noted_and_forgotten)
{
	Hydra__V1__HandoverRecord record = begun(), *seen = NULL;
	struct verdict verdict = made(&record);
	char departures[128];
	char *where;

	(void) snprintf(departures, sizeof(departures), "%s/leaving", folder);
	where = departure_path(departures, &record);
	record.departure = where;
	CHECK(departure_note(&record, &err) == 0);
	CHECK(handover_read_file(where, &seen, &err) == 0 && strcmp(seen->departure, where) == 0);
	hydra__v1__handover_record__free_unpacked(seen, NULL);
	departure_forget(&record);
	CHECK(!path_exists(AT_FDCWD, where));
	CHECK(departure_farewell(where, &err) == 0);
	free(where);
	where = departure_path(NULL, &record);
	record.departure = where;
	CHECK(where[0] == '\0' && departure_note(&record, &err) == 0);
	free(where);
	removed(&verdict);
}

TEST(deadlines_have_names_and_times)
{
	const char *good[] = {"freeze=1500ms", "commit=2m"}, *bad[] = {"freeze", "sleep=1s", "sync=soon", "=1s"};
	struct string_list words = {good, 2};
	uint64_t ns[DEADLINES];

	CHECK(deadlines_parse(&words, ns, &err) == 0);
	CHECK(ns[DEADLINE_FREEZE] == 1500000000ULL && ns[DEADLINE_COMMIT] == 120000000000ULL);
	CHECK(ns[DEADLINE_PREFLIGHT] == 60000000000ULL && ns[DEADLINE_SYNC] == 0);
	for (size_t i = 0; i < 4; i++) {
		words = (struct string_list){&bad[i], 1};
		CHECK(deadlines_parse(&words, ns, &err) == -EINVAL && strstr(err.message, bad[i]) != NULL);
	}
}
