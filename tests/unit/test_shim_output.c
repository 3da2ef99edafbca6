/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/output.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAW  HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW
#define JSON HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE

struct place {
	int dir_fd; /* first: GCC with sanitizers takes a name at offset 0 for one that may be NULL */
	char folder[32];
	char path[64];
	int pipe[2];
	struct event_loop loop;
	Hydra__V1__LogConfig config;
	struct output *output;
	int changes, gaps;
};

static void count_change(void *context)
{
	struct place *self = context;

	self->changes++;
}

static void count_gap(void *context)
{
	struct place *self = context;

	self->gaps++;
}

static void place_open(struct place *self)
{
	struct output_owner owner = {.loop = &self->loop, .dir_fd = self->dir_fd, .id = "web", .namespace = "default",
				     .on_change = count_change, .on_gap = count_gap, .context = self};
	struct error err;

	CHECK(output_open(&self->output, &owner, &self->config, &err) == 0);
}

static void place_make(struct place *self, Hydra__V1__LogFormat format, Hydra__V1__LogPolicy policy)
{
	struct error err;

	*self = (struct place){.config = HYDRA__V1__LOG_CONFIG__INIT};
	(void) text_fit(self->folder, sizeof(self->folder), "/tmp/hydra-XXXXXX");
	CHECK(mkdtemp(self->folder) != NULL);
	(void) text_fit(self->path, sizeof(self->path), "%s/log/container.log", self->folder);
	self->dir_fd = open(self->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(pipe2(self->pipe, O_CLOEXEC | O_NONBLOCK) == 0 && event_loop_init(&self->loop, &err) == 0);
	self->config.path = self->path;
	self->config.format = format;
	self->config.policy = policy;
	place_open(self);
}

static void place_remove(struct place *self)
{
	struct error err;

	output_free(self->output);
	event_loop_deinit(&self->loop);
	(void) close(self->pipe[0]);
	(void) close(self->pipe[1]);
	(void) close(self->dir_fd);
	CHECK(dir_remove_all(AT_FDCWD, self->folder, &err) == 0);
}

/* The log is gone and a file is where its folder was: it can't be opened. */
static void log_break(struct place *self)
{
	auto_free char *folder = text_format("%s/log", self->folder);
	struct error err;

	CHECK(dir_remove_all(AT_FDCWD, folder, &err) == 0);
	CHECK(file_replace_fast(AT_FDCWD, folder, "", 0, 0600, &err) == 0);
}

static void log_mend(struct place *self)
{
	auto_free char *folder = text_format("%s/log", self->folder);

	CHECK(unlink(folder) == 0);
	output_end(self->output);
}

static void say(struct place *self, const void *bytes, size_t size, bool is_error)
{
	struct queue_source source = {.fd = self->pipe[0], .is_pipe = true, .is_error = is_error};

	CHECK(write(self->pipe[1], bytes, size) == (ssize_t) size);
	CHECK(output_read_from(self->output, &source) == (ssize_t) size);
	output_deliver(self->output);
}

static void say_text(struct place *self, const char *text)
{
	say(self, text, strlen(text), false);
}

static bool log_is(const struct place *self, const char *expected)
{
	auto_free char *content = NULL;
	struct error ignored;
	size_t size;

	return file_read(AT_FDCWD, self->path, 8 << 20, &content, &size, &ignored) == 0 && size == strlen(expected) &&
	       memcmp(content, expected, size) == 0;
}

static bool counts(const struct place *self, uint64_t written, uint64_t dropped, uint64_t pending)
{
	struct output_counters now = output_count(self->output);

	return now.written == written && now.dropped == dropped && now.pending == pending && now.read == written + dropped + pending;
}

static bool file_is_small(const struct place *self, const char *name, off_t most)
{
	struct stat info;

	return fstatat(self->dir_fd, name, &info, 0) == 0 && info.st_blocks * 512 <= most;
}

TEST(what_was_said_is_in_the_log_at_once)
{
	struct place place;

	place_make(&place, RAW, 0);
	say_text(&place, "one\n");
	say_text(&place, "two");
	CHECK(log_is(&place, "one\ntwo") && counts(&place, 7, 0, 0) && !output_is_busy(place.output));
	place_remove(&place);
}

TEST(what_cannot_be_written_waits_and_comes_in_order)
{
	struct place place;

	place_make(&place, RAW, 0);
	say_text(&place, "one\n");
	log_break(&place);
	say_text(&place, "two\n");
	say_text(&place, "three\n");
	CHECK(counts(&place, 4, 0, 10) && output_count(place.output).problem != NULL && !output_holds_back(place.output));
	log_mend(&place);
	CHECK(log_is(&place, "two\nthree\n") && counts(&place, 14, 0, 0) && output_count(place.output).problem == NULL);
	place_remove(&place);
}

static void say_much(struct place *self, int blocks)
{
	char block[8000];

	for (int i = 0; i < blocks; i++) {
		memset(block, 'a' + i % 26, sizeof(block));
		block[sizeof(block) - 1] = '\n';
		say(self, block, sizeof(block), i % 2 != 0);
	}
}

TEST(beyond_the_limit_the_oldest_are_dropped_and_the_log_says_how_much)
{
	struct place place;
	auto_free char *content = NULL;
	struct error err;
	struct output_counters now;
	char mark[80];

	place_make(&place, RAW, HYDRA__V1__LOG_POLICY__LOG_POLICY_DROP_OLDEST);
	log_break(&place);
	say_much(&place, 20);
	now = output_count(place.output);
	CHECK(now.dropped % 8000 == 0 && now.pending == 8 * 8000 && now.read == 160000 && now.dropped + now.pending == now.read);
	CHECK(file_is_small(&place, "spill", 192 << 10));
	log_mend(&place);
	CHECK(file_read(AT_FDCWD, place.path, 1 << 20, &content, NULL, &err) == 0);
	(void) text_fit(mark, sizeof(mark), "[hydra: %d bytes of output could not be written here]\n", 12 * 8000);
	CHECK(text_has_prefix(content, mark) && strlen(content) == strlen(mark) + 8 * 8000 && content[strlen(mark)] == 'm');
	CHECK(counts(&place, 8 * 8000, 12 * 8000, 0) && file_is_small(&place, "spill", 64 << 10));
	place_remove(&place);
}

TEST(a_mark_does_not_continue_a_line)
{
	struct place place;
	auto_free char *content = NULL;
	struct error err;

	place_make(&place, RAW, HYDRA__V1__LOG_POLICY__LOG_POLICY_DROP_OLDEST);
	say_text(&place, "part");
	log_break(&place);
	say_much(&place, 9);
	log_mend(&place);
	CHECK(file_read(AT_FDCWD, place.path, 1 << 20, &content, NULL, &err) == 0 && text_has_prefix(content, "\n[hydra: 8000 bytes"));
	place_remove(&place);
}

TEST(blocking_holds_back_only_while_something_waits)
{
	struct place place;

	place_make(&place, RAW, HYDRA__V1__LOG_POLICY__LOG_POLICY_BLOCK);
	log_break(&place);
	CHECK(!output_holds_back(place.output));
	say_text(&place, "one\n");
	CHECK(output_holds_back(place.output));
	log_mend(&place);
	CHECK(!output_holds_back(place.output) && log_is(&place, "one\n"));
	place_remove(&place);
}

TEST(the_log_is_tried_again_by_itself)
{
	struct place place;
	auto_free char *folder = NULL;
	uint64_t deadline = clock_monotonic_ns() + 60 * NS_PER_S;

	place_make(&place, RAW, 0);
	log_break(&place);
	say_text(&place, "one\n");
	folder = text_format("%s/log", place.folder);
	CHECK(unlink(folder) == 0);
	while (place.changes == 0 && clock_monotonic_ns() < deadline)
		event_loop_turn(&place.loop, 1000);
	CHECK(place.changes == 1 && log_is(&place, "one\n"));
	place_remove(&place);
}

TEST(a_successor_goes_on_with_what_waits_and_what_was_counted)
{
	struct place place;
	auto_free char *folder = NULL;

	place_make(&place, RAW, 0);
	say_text(&place, "one\n");
	log_break(&place);
	say_text(&place, "two\n");
	say(&place, "three\n", 6, true);
	say_text(&place, "four\n");
	output_free(place.output);
	folder = text_format("%s/log", place.folder);
	CHECK(unlink(folder) == 0);
	place_open(&place);
	CHECK(counts(&place, 4, 0, 15));
	say_text(&place, "five\n");
	CHECK(log_is(&place, "two\nthree\nfour\nfive\n") && counts(&place, 24, 0, 0));
	place_remove(&place);
}

TEST(a_character_cut_by_a_read_is_one_in_json)
{
	struct place place;
	auto_free char *content = NULL;
	struct error err;

	place_make(&place, JSON, 0);
	say_text(&place, "a\xe2\x82");
	CHECK(counts(&place, 1, 0, 2));
	say(&place, "\xf0\x9f", 2, true);
	say_text(&place, "\xac\n");
	say(&place, "\x98\x80\n", 3, true);
	CHECK(counts(&place, 10, 0, 0));
	CHECK(file_read(AT_FDCWD, place.path, 4096, &content, NULL, &err) == 0);
	CHECK(strstr(content, "{\"log\":\"€\\n\",\"stream\":\"stdout\"") != NULL &&
	      strstr(content, "{\"log\":\"😀\\n\",\"stream\":\"stderr\"") != NULL && strstr(content, "ufffd") == NULL);
	place_remove(&place);
}

TEST(the_start_of_a_character_at_the_end_is_none)
{
	struct place place;
	auto_free char *content = NULL;
	struct error err;

	place_make(&place, JSON, 0);
	say_text(&place, "a\xe2\x82");
	output_end(place.output);
	CHECK(counts(&place, 3, 0, 0) && file_read(AT_FDCWD, place.path, 4096, &content, NULL, &err) == 0);
	CHECK(strstr(content, "{\"log\":\"\\ufffd\\ufffd\"") != NULL);
	place_remove(&place);
}

TEST(another_format_begins_another_file)
{
	struct place place;
	auto_free char *older = NULL;
	auto_free char *content = NULL;
	struct error err;

	place_make(&place, RAW, 0);
	say_text(&place, "raw\n");
	place.config.format = JSON;
	CHECK(output_update(place.output, &place.config, &err) == 0);
	say_text(&place, "json\n");
	older = text_format("%s.1.raw", place.path);
	CHECK(file_read(AT_FDCWD, older, 4096, &content, NULL, &err) == 0 && strcmp(content, "raw\n") == 0);
	CHECK(!log_is(&place, "") && counts(&place, 9, 0, 0));
	place_remove(&place);
}

TEST(another_policy_counts_at_once_for_what_waits)
{
	struct place place;
	struct error err;

	place_make(&place, RAW, 0);
	log_break(&place);
	say_much(&place, 20);
	CHECK(counts(&place, 0, 0, 160000));
	(void) text_fit(place.path, sizeof(place.path), "%s/other", place.folder);
	place.config.policy = HYDRA__V1__LOG_POLICY__LOG_POLICY_DROP_OLDEST;
	place.config.format = HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JOURNALD; /* nobody listens */
	CHECK(output_update(place.output, &place.config, &err) == 0 && counts(&place, 0, 0, 160000));
	say_much(&place, 1);
	CHECK(counts(&place, 0, 13 * 8000, 8 * 8000));
	place_remove(&place);
}

TEST(what_a_terminal_says_takes_the_same_way)
{
	struct place place;
	struct queue_source source = {.is_pipe = false};
	uint8_t bytes[QUEUE_CHUNK_MAX];
	bool is_error = true;

	place_make(&place, RAW, 0);
	source.fd = place.pipe[0];
	CHECK(output_read_from(place.output, &source) == -EAGAIN);
	CHECK(write(place.pipe[1], "one\r\n", 5) == 5 && output_read_from(place.output, &source) == 5);
	CHECK(output_copy_newest(place.output, bytes, &is_error) == 5 && memcmp(bytes, "one\r\n", 5) == 0 && !is_error);
	output_deliver(place.output);
	CHECK(log_is(&place, "one\r\n") && counts(&place, 5, 0, 0));
	place_remove(&place);
}

TEST(what_is_no_pipe_is_read_by_hand)
{
	struct place place;
	struct queue_source source = {.is_pipe = true};
	int ends[2];

	place_make(&place, RAW, 0);
	say_text(&place, "one\n");
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	source.fd = ends[0];
	CHECK(write(ends[1], "two\n", 4) == 4 && output_read_from(place.output, &source) == 4);
	output_deliver(place.output);
	CHECK(log_is(&place, "one\ntwo\n") && counts(&place, 8, 0, 0));
	(void) close(ends[0]);
	(void) close(ends[1]);
	place_remove(&place);
}

TEST(memory_takes_the_place_of_an_unusable_run_directory)
{
	struct place place;
	int usable;

	place_make(&place, RAW, HYDRA__V1__LOG_POLICY__LOG_POLICY_DROP_OLDEST);
	output_free(place.output);
	usable = place.dir_fd;
	place.dir_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	place_open(&place);
	log_break(&place);
	say_much(&place, 20);
	CHECK(counts(&place, 0, 12 * 8000, 8 * 8000));
	log_mend(&place);
	CHECK(counts(&place, 8 * 8000, 12 * 8000, 0));
	(void) close(place.dir_fd);
	place.dir_fd = usable;
	place_remove(&place);
}

TEST(what_waited_in_memory_is_counted_by_the_successor)
{
	struct place place;
	auto_free char *folder = NULL;

	place_make(&place, RAW, 0);
	CHECK(mkdirat(place.dir_fd, "spill", 0700) == 0); /* in the way */
	log_break(&place);
	say_text(&place, "lost\n");
	CHECK(counts(&place, 0, 0, 5));
	output_free(place.output);
	folder = text_format("%s/log", place.folder);
	CHECK(unlink(folder) == 0);
	place_open(&place);
	CHECK(counts(&place, 0, 5, 0));
	say_text(&place, "kept\n");
	CHECK(log_is(&place, "[hydra: 5 bytes of output could not be written here]\nkept\n") && counts(&place, 5, 5, 0));
	place_remove(&place);
}

TEST(a_damaged_queue_is_lost_and_counted)
{
	struct place place;
	auto_free char *folder = NULL;

	place_make(&place, RAW, 0);
	log_break(&place);
	say_text(&place, "one\n");
	say_text(&place, "two\n");
	output_free(place.output);
	CHECK(unlinkat(place.dir_fd, "spill", 0) == 0);
	folder = text_format("%s/log", place.folder);
	CHECK(unlink(folder) == 0);
	place_open(&place);
	output_end(place.output);
	CHECK(counts(&place, 0, 8, 0) && log_is(&place, "[hydra: 8 bytes of output could not be written here]\n"));
	place_remove(&place);
}

static void replace_page(const struct place *self, uint32_t version, int fill)
{
	uint8_t page[STDIO_PAGE_SIZE];
	struct error err;

	memset(page, fill, sizeof(page));
	memcpy(page, &version, sizeof(version));
	CHECK(file_replace_fast(self->dir_fd, STDIO_PAGE_NAME, page, sizeof(page), 0600, &err) == 0);
	CHECK(file_replace_fast(self->dir_fd, "spill", "waits", 5, 0600, &err) == 0);
}

static bool is_there(const struct place *self, const char *name, size_t size)
{
	struct stat status;

	return fstatat(self->dir_fd, name, &status, 0) == 0 && (size_t) status.st_size == size;
}

/* Nothing is counted as zero that is not known, and nothing is thrown away. */
static void check_set_aside(uint32_t version, int fill)
{
	struct place place;
	struct stdio_counts ignored;

	place_make(&place, RAW, 0);
	say_text(&place, "before\n");
	output_free(place.output);
	CHECK(stdio_page_count(place.dir_fd, &ignored) && queue_is_understood(place.dir_fd));
	replace_page(&place, version, fill);
	CHECK(!stdio_page_count(place.dir_fd, &ignored) && !queue_is_understood(place.dir_fd));
	for (int life = 0; life < 2; life++) {
		place_open(&place);
		CHECK(place.gaps == 1 && output_count(place.output).is_partial && !stdio_page_count(place.dir_fd, &ignored));
		CHECK(is_there(&place, STDIO_PAGE_NAME QUEUE_ASIDE, STDIO_PAGE_SIZE) && is_there(&place, "spill" QUEUE_ASIDE, 5));
		say_text(&place, life == 0 ? "one\n" : "two\n");
		CHECK(counts(&place, life == 0 ? 4 : 8, 0, 0));
		if (life == 0)
			output_free(place.output);
	}
	CHECK(log_is(&place, "before\none\ntwo\n"));
	place_remove(&place);
}

TEST(an_implausible_page_is_not_believed)
{
	check_set_aside(STDIO_PAGE_VERSION, 0xff);
}

TEST(a_page_of_another_version_is_set_aside)
{
	check_set_aside(STDIO_PAGE_VERSION + 1, 0);
	check_set_aside(UINT32_MAX, 0x11);
}

TEST(a_misnamed_log_is_refused)
{
	struct place place;
	struct output *other = NULL;
	struct output_owner owner;
	struct error err;

	place_make(&place, RAW, 0);
	owner = (struct output_owner){.loop = &place.loop, .dir_fd = place.dir_fd, .id = "web", .namespace = "default"};
	place.config.path = place.folder;
	CHECK(output_open(&other, &owner, &place.config, &err) == -EISDIR && strstr(err.message, place.folder) != NULL);
	place.config.path = place.path;
	place_remove(&place);
}
