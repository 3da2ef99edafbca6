/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/output.h"
#include "tests/unit/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DROP_OLDEST HYDRA__V1__LOG_POLICY__LOG_POLICY_DROP_OLDEST
#define BLOCK       HYDRA__V1__LOG_POLICY__LOG_POLICY_BLOCK

/* Output of init that goes into pipes: stdout's and stderr's. */
struct place {
	int dir_fd;
	char folder[32];
	int source[2], out[2], err[2];
	int pipes[2];
	struct event_loop loop;
	Hydra__V1__LogConfig config;
	struct output *output;
};

static void ignore(void *context)
{
	(void) context;
}

static void place_open(struct place *self)
{
	struct output_owner owner = {.loop = &self->loop, .dir_fd = self->dir_fd, .id = "web", .namespace = "default", .pipes = self->pipes,
				     .on_change = ignore, .on_gap = ignore, .context = self};
	struct error err;

	CHECK(output_open(&self->output, &owner, &self->config, &err) == 0);
}

static void place_make(struct place *self, Hydra__V1__LogPolicy policy)
{
	struct error err;

	*self = (struct place){.config = HYDRA__V1__LOG_CONFIG__INIT};
	self->config.policy = policy;
	(void) text_fit(self->folder, sizeof(self->folder), "/tmp/hydra-XXXXXX");
	CHECK(mkdtemp(self->folder) != NULL);
	self->dir_fd = open(self->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(pipe2(self->source, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(self->out, O_CLOEXEC | O_NONBLOCK) == 0 &&
	      pipe2(self->err, O_CLOEXEC | O_NONBLOCK) == 0 && event_loop_init(&self->loop, &err) == 0);
	self->pipes[0] = self->out[1];
	self->pipes[1] = self->err[1];
	place_open(self);
}

static void place_remove(struct place *self)
{
	struct error err;

	output_free(self->output);
	event_loop_deinit(&self->loop);
	for (int i = 0; i < 2; i++) {
		(void) close(self->source[i]);
		(void) close(self->out[i]);
		(void) close(self->err[i]);
	}
	(void) close(self->dir_fd);
	CHECK(dir_remove_all(AT_FDCWD, self->folder, &err) == 0);
}

static void say(struct place *self, const void *bytes, size_t size, bool is_error)
{
	struct queue_source source = {.fd = self->source[0], .is_pipe = true, .is_error = is_error};

	CHECK(write(self->source[1], bytes, size) == (ssize_t) size);
	CHECK(output_read_from(self->output, &source) == (ssize_t) size);
	output_deliver(self->output);
}

/* What is there now, as text. */
static const char *hear(const int pipe[2])
{
	static char text[QUEUE_CHUNK_MAX * 4];
	ssize_t got = read(pipe[0], text, sizeof(text) - 1);

	text[got > 0 ? got : 0] = '\0';
	return text;
}

TEST(each_stream_goes_into_its_pipe)
{
	struct place place;

	place_make(&place, DROP_OLDEST);
	say(&place, "out\n", 4, false);
	say(&place, "err\n", 4, true);
	CHECK(strcmp(hear(place.out), "out\n") == 0);
	CHECK(strcmp(hear(place.err), "err\n") == 0);
	CHECK(output_count(place.output).written == 8 && !output_is_busy(place.output));
	place_remove(&place);
}

TEST(what_nobody_wants_counts_as_written)
{
	struct place place;

	place_make(&place, DROP_OLDEST);
	place.pipes[1] = PIPE_UNWANTED;
	say(&place, "err\n", 4, true);
	CHECK(output_count(place.output).written == 4 && output_count(place.output).pending == 0);
	CHECK(strcmp(hear(place.err), "") == 0);
	place_remove(&place);
}

TEST(what_is_lost_waits)
{
	struct place place;

	place_make(&place, DROP_OLDEST);
	place.pipes[0] = PIPE_LOST;
	say(&place, "out\n", 4, false);
	CHECK(output_count(place.output).pending == 4 && output_count(place.output).problem != NULL);
	place_remove(&place);
}

TEST(bytes_in_a_pipe_are_never_written_over)
{
	char expected[64 * 8 + 1] = "";
	struct place place;

	place_make(&place, DROP_OLDEST);
	CHECK(fcntl(place.out[1], F_SETPIPE_SZ, 1 << 20) > 0);
	for (int i = 0; i < 64; i++) { /* the queue is empty again each time */
		char *line = expected + 8 * i;

		(void) snprintf(line, 9, "line%03d\n", i);
		say(&place, line, 8, false);
	}
	CHECK(strcmp(hear(place.out), expected) == 0);
	place_remove(&place);
}

TEST(a_full_pipe_is_waited_for_and_gaps_are_marked)
{
	static const char block[4096];
	struct place place;
	struct output_counters counters;
	uint64_t said = 0, heard = 0;

	place_make(&place, DROP_OLDEST);
	for (int i = 0; i < 64; i++, said += sizeof(block))
		say(&place, block, sizeof(block), false);
	counters = output_count(place.output);
	CHECK(counters.dropped > 0 && counters.pending > 0 && counters.read == said && output_is_busy(place.output));
	for (int rounds = 0; rounds < 100 && output_count(place.output).pending > 0; rounds++) {
		char bytes[65536];
		ssize_t got = read(place.out[0], bytes, sizeof(bytes));

		heard += got > 0 ? (uint64_t) got : 0;
		event_loop_turn(&place.loop, 0);
	}
	for (char bytes[4096]; ;) {
		ssize_t got = read(place.out[0], bytes, sizeof(bytes));

		if (got <= 0)
			break;
		heard += (uint64_t) got;
	}
	counters = output_count(place.output);
	CHECK(counters.pending == 0 && heard == counters.written && said == heard + counters.dropped);
	CHECK(strstr(hear(place.err), "bytes of output could not be written here]\n") != NULL);
	place_remove(&place);
}

TEST(a_successor_goes_on_where_it_was_full)
{
	static const char block[4096];
	struct place place;
	uint64_t heard = 0;
	ssize_t got;
	char bytes[65536];

	place_make(&place, BLOCK);
	for (int i = 0; i < 32; i++)
		say(&place, block, sizeof(block), false);
	CHECK(output_holds_back(place.output));
	output_free(place.output);
	place_open(&place);
	for (int rounds = 0; rounds < 100 && heard < 32 * sizeof(block); rounds++) {
		event_loop_turn(&place.loop, 0);
		got = read(place.out[0], bytes, sizeof(bytes));
		heard += got > 0 ? (uint64_t) got : 0;
	}
	CHECK(heard == 32 * sizeof(block) && output_count(place.output).written == heard);
	place_remove(&place);
}
