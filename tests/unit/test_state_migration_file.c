/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/migration_file.h"
#include "tests/unit/harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t count_files(const char *root)
{
	auto_free char *path = migration_folder(root);
	DIR *folder = opendir(path);
	size_t count = 0;

	for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	(void) closedir(folder);
	return count;
}

TEST(a_name_is_used_once_and_nothing_else_is_left)
{
	char root[] = "/tmp/hydra-migrations-XXXXXX";
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	struct error err;
	int first;

	CHECK(mkdtemp(root) != NULL);
	CHECK(migration_file_make(root, "m", &first, &err) == 0);
	CHECK(migration_file_make(root, "m", &(int){0}, &err) == -EEXIST);
	CHECK(dprintf(first, "{\"phase\":\"sync\"}\n") > 0);
	CHECK(migration_file_read(root, "m", &status, NULL, &err) == 0 && !status->has_failed);
	(void) close(first);
	message_free(status);
	status = NULL;
	CHECK(migration_file_read(root, "m", &status, NULL, &err) == 0 && status->has_failed);
	CHECK(count_files(root) == 1);
	CHECK(dir_remove_all(AT_FDCWD, root, &err) == 0);
}

static uint64_t expect_next(const char *root, uint64_t since, const char *phase, bool is_done)
{
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	struct error err;

	CHECK(migration_file_read_next(root, "m", since, &status, &err) == 0);
	CHECK(strcmp(status->phase, phase) == 0 && status->is_done == is_done);
	return status->sequence;
}

TEST(who_looks_late_hears_of_every_phase)
{
	char root[] = "/tmp/hydra-migrations-XXXXXX";
	struct error err;
	uint64_t seen;
	int fd;

	CHECK(mkdtemp(root) != NULL);
	CHECK(migration_file_make(root, "m", &fd, &err) == 0);
	CHECK(expect_next(root, 0, "", false) == 0);
	CHECK(dprintf(fd, "{\"phase\":\"sync\"}\n{\"phase\":\"sync\",\"bytes_done\":7}\n{\"bytes_done\":8}\n{\"phase\":\"freeze\"}\n"
			  "{\"phase\":\"failed\",\"is_final\":true,\"has_failed\":true}\n{\"phase\":\"paging\"}\n") > 0);
	seen = expect_next(root, 0, "sync", false);
	CHECK(seen == 3);
	seen = expect_next(root, seen, "freeze", false);
	CHECK(expect_next(root, 2, "sync", false) == 3);
	seen = expect_next(root, seen, "failed", false);
	seen = expect_next(root, seen, "paging", false);
	CHECK(expect_next(root, seen, "paging", false) == seen);
	(void) close(fd);
	CHECK(expect_next(root, seen, "failed", true) == seen + 1);
	CHECK(dir_remove_all(AT_FDCWD, root, &err) == 0);
}

TEST(old_migrations_are_forgotten_but_not_those_under_way)
{
	char root[] = "/tmp/hydra-migrations-XXXXXX";
	struct error err;
	int first;

	CHECK(mkdtemp(root) != NULL);
	CHECK(migration_file_make(root, "under-way", &first, &err) == 0);
	for (int i = 0; i < 2 * MIGRATION_FILES_KEPT; i++) {
		auto_free char *id = text_format("m%d", i);
		int fd;

		CHECK(migration_file_make(root, id, &fd, &err) == 0);
		(void) close(fd);
	}
	CHECK(count_files(root) == MIGRATION_FILES_KEPT);
	CHECK(migration_file_make(root, "under-way", &(int){0}, &err) < 0);
	(void) close(first);
	CHECK(dir_remove_all(AT_FDCWD, root, &err) == 0);
}
