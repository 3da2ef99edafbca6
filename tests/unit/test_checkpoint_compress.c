/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "checkpoint/compress.h"
#include "checkpoint/compress_choice.h"
#include "tests/unit/harness.h"

#define SIZE 65536U

static unsigned char plain[SIZE], small[SIZE], again[SIZE];

TEST(what_was_compressed_comes_out_as_it_was)
{
	struct error err;

	for (size_t i = 0; i < SIZE; i++)
		plain[i] = (unsigned char) (i / 100);
	for (enum compress_method method = COMPRESS_LZ4; method < COMPRESS_METHODS; method++) {
		size_t size = compress_pages(method, plain, SIZE, small, SIZE);

		CHECK(size > 0 && size < SIZE / 4);
		memset(again, 1, SIZE);
		CHECK(decompress_pages(method, small, size, again, SIZE, &err) == 0);
		CHECK(memcmp(plain, again, SIZE) == 0);
		CHECK(decompress_pages(method, small, size - 1, again, SIZE, &err) == -EBADMSG);
		CHECK(decompress_pages(method, small, size, again, SIZE - 1, &err) == -EBADMSG);
	}
}

TEST(what_does_not_get_smaller_is_not_compressed)
{
	uint32_t state = 1;

	for (size_t i = 0; i < SIZE; i++) {
		state = state * 1664525 + 1013904223;
		plain[i] = (unsigned char) (state >> 24);
	}
	for (enum compress_method method = COMPRESS_LZ4; method < COMPRESS_METHODS; method++)
		CHECK(compress_pages(method, plain, SIZE, small, SIZE - 4096) == 0);
}

TEST(methods_have_names)
{
	CHECK(compress_method_of("lz4") == COMPRESS_LZ4 && compress_method_of("zstd") == COMPRESS_ZSTD);
	CHECK(compress_method_of("none") == COMPRESS_NONE && compress_method_of("gzip") == COMPRESS_METHODS);
}

#define ALL  (1U << COMPRESS_LZ4 | 1U << COMPRESS_ZSTD)
#define SECOND 1000000000ULL

/* lz4: 400 MB/s to a half; zstd: 200 MB/s to a third */
static struct compress_choice measured(uint32_t methods, uint64_t link_rate)
{
	struct compress_choice choice;

	compress_choice_init(&choice, methods);
	if (link_rate > 0)
		compress_choice_link(&choice, link_rate, SECOND);
	compress_choice_measured(&choice, COMPRESS_LZ4, 400000000, 200000000, SECOND);
	compress_choice_measured(&choice, COMPRESS_ZSTD, 200000000, 66000000, SECOND);
	choice.batch = 10;
	return choice;
}

TEST(a_link_that_takes_everything_wants_no_compression)
{
	struct compress_choice choice = measured(ALL, 0);

	for (int i = 0; i < 1000; i++)
		CHECK(compress_choice_next(&choice) == COMPRESS_NONE);
}

TEST(the_slower_the_link_the_smaller_the_pages)
{
	struct compress_choice fast = measured(ALL, 1000000000), middle = measured(ALL, 150000000), slow = measured(ALL, 10000000);

	CHECK(compress_choice_next(&fast) == COMPRESS_NONE);
	CHECK(compress_choice_next(&middle) == COMPRESS_LZ4);
	CHECK(compress_choice_next(&slow) == COMPRESS_ZSTD);
}

TEST(only_what_is_allowed_is_used)
{
	struct compress_choice choice = measured(1U << COMPRESS_LZ4, 10000000);

	for (int i = 0; i < 1000; i++)
		CHECK(compress_choice_next(&choice) != COMPRESS_ZSTD);
}

TEST(pages_that_do_not_get_smaller_are_left_as_they_are)
{
	struct compress_choice choice;
	int compressed = 0;

	compress_choice_init(&choice, ALL);
	compress_choice_link(&choice, 10000000, SECOND);
	compress_choice_measured(&choice, COMPRESS_LZ4, 1000, 1000, 1000);
	compress_choice_measured(&choice, COMPRESS_ZSTD, 1000, 990, 1000);
	for (int i = 0; i < 1280; i++)
		compressed += compress_choice_next(&choice) != COMPRESS_NONE;
	CHECK(compressed == 20); /* to see whether that has changed */
}
