/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/log_file.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	char folder[32];
	char path[64];
	struct log_file log;
};

static void place_make(struct place *self, uint64_t max_size, uint32_t max_files, Hydra__V1__LogFormat format)
{
	Hydra__V1__LogConfig config = HYDRA__V1__LOG_CONFIG__INIT;

	(void) text_fit(self->folder, sizeof(self->folder), "/tmp/hydra-XXXXXX");
	CHECK(mkdtemp(self->folder) != NULL);
	(void) text_fit(self->path, sizeof(self->path), "%s/log/container.log", self->folder);
	config.path = self->path;
	config.max_size_bytes = max_size;
	config.max_files = max_files;
	config.format = format;
	CHECK(log_file_init(&self->log, &config) == 0);
}

static void place_remove(struct place *self)
{
	struct error err;

	log_file_deinit(&self->log);
	CHECK(dir_remove_all(AT_FDCWD, self->folder, &err) == 0);
}

static int write_line(struct log_file *log, char letter, size_t size)
{
	uint8_t line[1000];
	int r = log_file_prepare(log, size);

	memset(line, letter, size);
	line[size - 1] = '\n';
	return r < 0 ? r : log_file_append(log, line, size);
}

static bool begins_with(const char *path, char letter)
{
	auto_free char *content = NULL;
	struct error ignored;

	return file_read(AT_FDCWD, path, 1 << 20, &content, NULL, &ignored) == 0 && content[0] == letter;
}

TEST(a_full_log_is_rotated_and_only_so_many_are_kept)
{
	struct place place;

	place_make(&place, 1000, 3, HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE);
	for (int i = 0; i < 8; i++)
		CHECK(write_line(&place.log, (char) ('a' + i), 600) == 0);
	CHECK(place.log.size == 600 && begins_with(place.path, 'h'));
	for (int number = 1; number <= 3; number++) {
		auto_free char *older = text_format("%s.%d.json", place.path, number);

		CHECK(begins_with(older, (char) ('h' - number)) == (number < 3));
		CHECK(path_exists(AT_FDCWD, older) == (number < 3));
	}
	place_remove(&place);
}

TEST(rotated_files_of_all_formats_share_their_numbers)
{
	static const char *const names[] = {"container.log.1", "container.log.2.json", "container.log.3.raw"};
	struct place place;

	place_make(&place, 1000, 4, HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW);
	CHECK(write_line(&place.log, 'r', 10) == 0 && log_file_retire(&place.log) == 0);
	place.log.format = HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE;
	CHECK(write_line(&place.log, 'j', 10) == 0 && log_file_retire(&place.log) == 0);
	place.log.format = HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI;
	CHECK(write_line(&place.log, 'c', 10) == 0 && log_file_retire(&place.log) == 0);
	for (int i = 0; i < 3; i++) {
		auto_free char *path = text_format("%s/log/%s", place.folder, names[i]);

		CHECK(begins_with(path, "cjr"[i]));
	}
	place_remove(&place);
}

TEST(with_fewer_files_allowed_the_surplus_goes)
{
	struct place place;

	place_make(&place, 1000, 6, HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI);
	for (int i = 0; i < 6; i++)
		CHECK(write_line(&place.log, 'x', 600) == 0);
	place.log.max_files = 2;
	CHECK(write_line(&place.log, 'x', 600) == 0);
	for (int number = 1; number <= 5; number++) {
		auto_free char *older = text_format("%s.%d", place.path, number);

		CHECK(path_exists(AT_FDCWD, older) == (number < 2));
	}
	place_remove(&place);
}

TEST(a_deleted_log_is_made_anew)
{
	struct place place;
	struct error err;

	place_make(&place, 0, 0, HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI);
	CHECK(write_line(&place.log, 'a', 10) == 0 && unlink(place.path) == 0);
	CHECK(write_line(&place.log, 'b', 10) == 0 && begins_with(place.path, 'b'));
	CHECK(dir_remove_all(AT_FDCWD, place.folder, &err) == 0);
	CHECK(write_line(&place.log, 'c', 10) == 0 && begins_with(place.path, 'c') && place.log.size == 10);
	place_remove(&place);
}

TEST(what_somebody_cut_off_does_not_count)
{
	struct place place;

	place_make(&place, 1000, 2, HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI);
	CHECK(write_line(&place.log, 'a', 900) == 0 && truncate(place.path, 0) == 0);
	CHECK(write_line(&place.log, 'b', 900) == 0 && begins_with(place.path, 'b') && place.log.size == 900);
	place_remove(&place);
}

TEST(a_log_is_not_opened_through_a_link_nor_when_it_is_no_file)
{
	struct place place;
	auto_free char *folder = NULL;

	place_make(&place, 0, 0, HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI);
	folder = text_format("%s/log", place.folder);
	CHECK(mkdir(folder, 0755) == 0 && symlink("/etc/passwd", place.path) == 0);
	CHECK(log_file_prepare(&place.log, 10) == -ELOOP && log_file_is_misnamed(-ELOOP));
	CHECK(unlink(place.path) == 0 && mkfifo(place.path, 0600) == 0);
	CHECK(log_file_is_misnamed(log_file_prepare(&place.log, 10)));
	CHECK(unlink(place.path) == 0 && mkdir(place.path, 0700) == 0);
	CHECK(log_file_is_misnamed(log_file_prepare(&place.log, 10)));
	CHECK(!log_file_is_misnamed(-ENOSPC) && !log_file_is_misnamed(-EROFS) && !log_file_is_misnamed(0));
	place_remove(&place);
}

TEST(what_a_full_disk_did_not_take_is_not_there)
{
	struct place place;
	int kept;

	place_make(&place, 0, 0, HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI);
	CHECK(write_line(&place.log, 'a', 10) == 0);
	kept = place.log.fd;
	place.log.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	CHECK(log_file_append(&place.log, (const uint8_t *) "lost\n", 5) == -ENOSPC && place.log.size == 10);
	(void) close(place.log.fd);
	place.log.fd = kept;
	CHECK(write_line(&place.log, 'b', 10) == 0 && place.log.size == 20);
	place_remove(&place);
}
