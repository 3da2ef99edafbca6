/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "shim/feed.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct feed *make(void)
{
	struct feed *self = NULL;
	struct error err;

	CHECK(feed_open(&self, FD_NONE, &err) == 0);
	return self;
}

/* As a successor does. */
static struct feed *reopen(struct feed *before)
{
	struct feed *self = NULL;
	struct error err;

	CHECK(feed_open(&self, dup(feed_fd(before)), &err) == 0);
	feed_free(before);
	return self;
}

static bool next_is(int fd, enum stream_type type, const char *text)
{
	uint8_t bytes[STREAM_HEADER_SIZE + 64];
	struct stream_header header;
	ssize_t size = (ssize_t) (STREAM_HEADER_SIZE + strlen(text));

	return read(fd, bytes, (size_t) size) == size && stream_header_read(bytes, &header) && header.type == type &&
	       header.size == strlen(text) && memcmp(bytes + STREAM_HEADER_SIZE, text, strlen(text)) == 0;
}

static int append(struct feed *self, enum stream_type type, const char *text)
{
	return feed_append(self, type, (const uint8_t *) text, strlen(text), feed_position(self) + strlen(text));
}

TEST(each_client_gets_what_comes_after_it_joined)
{
	struct feed *feed = make();
	int first[2], second[2], a, b;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, first) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, second) == 0);
	a = feed_join(feed, true);
	CHECK(append(feed, STREAM_OUT, "one") == 0);
	b = feed_join(feed, false);
	CHECK(feed_may_write(feed, a) && !feed_may_write(feed, b) && !feed_is_confirmed(feed, a));
	CHECK(append(feed, STREAM_ERR, "two") == 0 && feed_position(feed) == 6);
	CHECK(feed_send(feed, a, first[0]) == 1 && feed_send(feed, b, second[0]) == 1);
	CHECK(next_is(first[1], STREAM_OUT, "one") && next_is(first[1], STREAM_ERR, "two"));
	CHECK(next_is(second[1], STREAM_ERR, "two"));
	feed_leave(feed, a);
	CHECK(feed_join(feed, true) == a);
	feed_free(feed);
	for (int i = 0; i < 2; i++)
		(void) (close(first[i]) + close(second[i]));
}

TEST(a_successor_goes_on_in_the_middle_of_a_frame)
{
	static uint8_t data[STREAM_DATA_MAX], got[STREAM_DATA_MAX];
	struct feed *feed = make();
	int pair[2], place, sends = 0;
	size_t seen = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 7 + i / 256);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	place = feed_join(feed, false);
	feed_confirm(feed, place);
	for (int i = 0; i < 10; i++)
		CHECK(feed_append(feed, STREAM_OUT, data, sizeof(data), 0) == 0);
	while (seen < 10 * (sizeof(data) + STREAM_HEADER_SIZE)) {
		size_t offset = seen % (sizeof(data) + STREAM_HEADER_SIZE);
		ssize_t size;

		CHECK(feed_send(feed, place, pair[0]) >= 0);
		feed = reopen(feed);
		sends++;
		size = read(pair[1], got, 10000);
		CHECK(size > 0 && feed_is_confirmed(feed, place));
		for (ssize_t i = 0; i < size; i++, offset = (offset + 1) % (sizeof(data) + STREAM_HEADER_SIZE))
			CHECK(offset < STREAM_HEADER_SIZE || got[i] == data[offset - STREAM_HEADER_SIZE]);
		seen += (size_t) size;
	}
	CHECK(sends > 10 && feed_waiting(feed, place) == 0);
	feed_free(feed);
	(void) (close(pair[0]) + close(pair[1]));
}

TEST(what_was_taken_from_a_pipe_is_a_frame)
{
	struct feed *feed = make();
	int pipe_ends[2], pair[2], place = feed_join(feed, false);

	CHECK(pipe2(pipe_ends, O_NONBLOCK) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	CHECK(feed_take(feed, pipe_ends[0], STREAM_OUT) == -EAGAIN);
	CHECK(write(pipe_ends[1], "hello", 5) == 5 && feed_take(feed, pipe_ends[0], STREAM_ERR) == 5);
	(void) close(pipe_ends[1]);
	CHECK(feed_take(feed, pipe_ends[0], STREAM_OUT) == 0);
	CHECK(feed_send(feed, place, pair[0]) == 1 && next_is(pair[1], STREAM_ERR, "hello"));
	feed_free(feed);
	(void) (close(pipe_ends[0]) + close(pair[0]) + close(pair[1]));
}

TEST(who_joins_after_the_end_gets_the_end)
{
	struct feed *feed = make();
	int pair[2], place;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	CHECK(feed_join(feed, false) >= 0 && append(feed, STREAM_OUT, "all") == 0 && !feed_has_ended(feed));
	CHECK(append(feed, STREAM_EXIT, "record") == 0 && feed_has_ended(feed));
	feed = reopen(feed);
	place = feed_join(feed, false);
	CHECK(feed_has_ended(feed) && feed_send(feed, place, pair[0]) == 1 && next_is(pair[1], STREAM_EXIT, "record"));
	feed_free(feed);
	(void) (close(pair[0]) + close(pair[1]));
}

TEST(what_is_no_feed_is_not_believed)
{
	struct feed *feed = make(), *other = NULL;
	struct error err;
	int64_t wrong = -1;

	for (int i = 0; i < FEED_CLIENTS_MAX; i++)
		CHECK(feed_join(feed, false) == i);
	CHECK(feed_join(feed, false) == -1);
	feed_keep_only(feed, 1ULL << 63);
	CHECK(feed_join(feed, false) == 0);
	for (off_t at = 0; at < 4096; at += (off_t) sizeof(wrong)) {
		int64_t before;
		int fd = dup(feed_fd(feed));

		CHECK(pread(fd, &before, sizeof(before), at) == sizeof(before) && pwrite(fd, &wrong, sizeof(wrong), at) == sizeof(wrong));
		if (feed_open(&other, fd, &err) == 0)
			feed_free(other);
		else
			(void) close(fd);
		CHECK(pwrite(feed_fd(feed), &before, sizeof(before), at) == sizeof(before));
	}
	CHECK(ftruncate(feed_fd(feed), 100) == 0 && feed_open(&other, feed_fd(feed), &err) == -EPROTO);
	(void) ftruncate(feed_fd(feed), 4096);
	feed_free(feed);
}
