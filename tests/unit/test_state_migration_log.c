/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/migration_file.h"
#include "state/migration_log.h"
#include "tests/unit/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A run root and a data root of their own. */
struct place {
	char root[64];
};

static struct place place_make(void)
{
	struct place self = {.root = "/tmp/hydra-migration-log-XXXXXX"};
	auto_free char *data = NULL;

	CHECK(mkdtemp(self.root) != NULL);
	data = text_format("%s/data", self.root);
	CHECK(setenv("HYDRA_DATA", data, 1) == 0);
	return self;
}

static void place_remove(const struct place *self)
{
	struct error err;

	CHECK(dir_remove_all(AT_FDCWD, self->root, &err) == 0);
}

static int begin(const struct place *self, const char *id, bool is_arrival)
{
	struct migration_start start = {.id = id, .namespace = "ns", .container = "web", .peer = "there:1", .is_arrival = is_arrival};
	struct error err;
	int fd;

	CHECK(migration_file_make(self->root, id, &fd, &err) == 0);
	migration_log_begin(&start, fd);
	return fd;
}

static struct migration_list list(const struct place *self)
{
	struct migration_list found;
	struct error err;

	CHECK(migration_log_list(self->root, &found, &err) == 0);
	return found;
}

TEST(one_under_way_is_told_as_its_progress_says)
{
	struct place place = place_make();
	int fd = begin(&place, "m1", false);
	struct migration_list found;

	CHECK(dprintf(fd, "{\"phase\":\"sync\",\"bytes_sent\":77,\"time_ns\":5}\n") > 0);
	found = list(&place);
	CHECK(found.count == 1 && !found.items[0]->is_done && found.items[0]->bytes_sent == 77);
	CHECK(strcmp(found.items[0]->phase, "sync") == 0 && strcmp(found.items[0]->peer, "there:1") == 0);
	CHECK(strcmp(found.items[0]->namespace_, "ns") == 0 && strcmp(found.items[0]->container_id, "web") == 0);
	migration_list_deinit(&found);
	(void) close(fd);
	place_remove(&place);
}

TEST(one_that_is_over_is_known_without_its_progress)
{
	struct place place = place_make();
	auto_free char *progress = text_format("%s/.migrations/m1", place.root);
	int fd = begin(&place, "m1", true);
	struct migration_list found;

	CHECK(dprintf(fd, "{\"phase\":\"paging\",\"time_ns\":7000}\n{\"phase\":\"done\",\"time_ns\":9000,\"downtime_us\":12,\"stalls\":3,"
			  "\"stall_us\":30,\"stall_max_us\":20,\"tasks\":\"1/2/25/20 9/1/5/5\",\"is_final\":true}\n") > 0);
	migration_log_end(place.root, "m1");
	(void) close(fd);
	CHECK(unlink(progress) == 0);
	found = list(&place);
	CHECK(found.count == 1 && found.items[0]->is_done && !found.items[0]->has_failed && found.items[0]->is_arrival);
	CHECK(found.items[0]->downtime_us == 12 && found.items[0]->lazy_us == 2 && found.items[0]->stalls == 3);
	CHECK(found.items[0]->n_tasks == 2 && found.items[0]->tasks[1]->pid == 9 && found.items[0]->tasks[0]->stall_max_us == 20);
	migration_list_deinit(&found);
	place_remove(&place);
}

TEST(one_that_was_under_way_when_the_machine_went_down_has_failed)
{
	struct place place = place_make();
	auto_free char *progress = text_format("%s/.migrations/m1", place.root);
	struct migration_list found;

	(void) close(begin(&place, "m1", false));
	CHECK(unlink(progress) == 0);
	found = list(&place);
	CHECK(found.count == 1 && found.items[0]->has_failed && strstr(found.items[0]->message, "machine went down") != NULL);
	migration_list_deinit(&found);
	place_remove(&place);
}

TEST(writers_that_died_have_failed_unless_all_had_arrived)
{
	struct place place = place_make();
	int killed = begin(&place, "m1", false), complete = begin(&place, "m2", false), watched = begin(&place, "m3", true);
	struct migration_list found;

	CHECK(dprintf(killed, "{\"phase\":\"sync\"}\n") > 0 && dprintf(complete, "{\"phase\":\"done\"}\n") > 0);
	CHECK(dprintf(watched, "{\"phase\":\"committed\"}\n") > 0);
	(void) close(killed);
	(void) close(complete);
	(void) close(watched);
	found = list(&place);
	CHECK(found.count == 3 && found.items[0]->has_failed && found.items[1]->is_done && !found.items[1]->has_failed);
	CHECK(found.items[2]->is_done && !found.items[2]->has_failed && strstr(found.items[2]->message, "here") != NULL);
	migration_list_deinit(&found);
	place_remove(&place);
}

TEST(the_oldest_are_forgotten_but_not_those_under_way)
{
	struct place place = place_make();
	int under_way = begin(&place, "under-way", false);
	struct migration_list found;
	bool is_there = false;

	for (int i = 0; i < MIGRATION_LOG_KEPT + 5; i++) {
		auto_free char *id = text_format("m%d", i);
		int fd = begin(&place, id, false);

		CHECK(dprintf(fd, "{\"phase\":\"done\",\"is_final\":true}\n") > 0);
		migration_log_end(place.root, id);
		(void) close(fd);
	}
	found = list(&place);
	for (size_t i = 0; i < found.count; i++)
		is_there = is_there || strcmp(found.items[i]->id, "under-way") == 0;
	CHECK(found.count <= MIGRATION_LOG_KEPT + 1 && is_there);
	migration_list_deinit(&found);
	(void) close(under_way);
	place_remove(&place);
}

TEST(what_is_no_such_file_is_passed_over)
{
	struct place place = place_make();
	auto_free char *folder = migration_log_folder();
	auto_free char *path = text_format("%s/rubbish", folder);
	struct migration_list found;
	struct error err;

	CHECK(file_replace(AT_FDCWD, path, "\xff\xff\xff", 3, 0600, &err) == 0);
	found = list(&place);
	CHECK(found.count == 0);
	migration_list_deinit(&found);
	place_remove(&place);
}
