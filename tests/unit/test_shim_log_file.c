/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/log_file.h"
#include "tests/unit/harness.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define AT_TEXT "1970-01-01T00:00:00.000000000Z stdout "

static bool formats(const char *input, const char *expected)
{
	uint8_t out[1024];
	size_t taken;
	size_t used = log_format_cri(0, "stdout", (const uint8_t *) input, strlen(input), out, sizeof(out), &taken);

	return taken == strlen(input) && used == strlen(expected) && memcmp(out, expected, used) == 0;
}

TEST(a_whole_line_is_final_and_a_part_is_partial)
{
	CHECK(formats("one\ntwo", AT_TEXT "F one\n" AT_TEXT "P two\n"));
	CHECK(formats("\n", AT_TEXT "F \n"));
	CHECK(formats("\r\n\n", AT_TEXT "F \r\n" AT_TEXT "F \n"));
}

TEST(what_does_not_fit_is_taken_later)
{
	uint8_t out[100];
	uint8_t data[300];
	size_t taken;
	size_t used;

	memset(data, 'x', sizeof(data));
	used = log_format_cri(0, "stdout", data, sizeof(data), out, sizeof(out), &taken);
	CHECK(taken > 0 && taken < sizeof(data) && used <= sizeof(out) && out[used - 1] == '\n');
	CHECK(strstr((char *) out, " P xxx") != NULL);
}

TEST(a_full_log_is_rotated_and_only_so_many_are_kept)
{
	char folder[] = "/tmp/hydra-XXXXXX";
	auto_free char *path = NULL;
	struct log_file *log = NULL;
	struct error err;
	uint8_t line[100];

	CHECK(mkdtemp(folder) != NULL);
	path = text_format("%s/log/container.log", folder);
	memset(line, 'x', sizeof(line));
	line[99] = '\n';
	CHECK(log_file_open(&log, path, 1000, 3, &err) == 0);
	for (int i = 0; i < 50; i++)
		log_file_write(log, "stdout", line, sizeof(line));
	CHECK(log->written == 5000 && log->dropped == 0 && log->size <= 1000);
	log_file_free(log);
	for (int number = 1; number <= 3; number++) {
		auto_free char *older = text_format("%s.%d", path, number);

		CHECK(path_exists(AT_FDCWD, older) == (number < 3));
	}
	CHECK(dir_remove_all(AT_FDCWD, folder, &err) == 0);
}

TEST(what_could_not_be_written_is_counted_and_marked)
{
	char folder[] = "/tmp/hydra-XXXXXX";
	auto_free char *path = NULL;
	auto_free char *content = NULL;
	struct log_file *log = NULL;
	struct error err;
	int kept;

	CHECK(mkdtemp(folder) != NULL);
	path = text_format("%s/log", folder);
	CHECK(log_file_open(&log, path, 0, 0, &err) == 0);
	kept = log->fd;
	log->fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	log_file_write(log, "stdout", (const uint8_t *) "lost\n", 5);
	CHECK(log->dropped == 5 && log->must_mark_gap);
	(void) close(log->fd);
	log->fd = kept;
	log_file_write(log, "stdout", (const uint8_t *) "kept\n", 5);
	log_file_free(log);
	CHECK(file_read(AT_FDCWD, path, 4096, &content, NULL, &err) == 0);
	CHECK(strstr(content, "5 bytes of output could not be written") != NULL && strstr(content, "F kept\n") != NULL);
	CHECK(dir_remove_all(AT_FDCWD, folder, &err) == 0);
}
