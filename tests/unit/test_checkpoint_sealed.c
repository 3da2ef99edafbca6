/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "checkpoint/sealed_stream.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER 68
#define SEALED_CHUNK (SEALED_CHUNK_BYTES + 16)

static const struct sealed_key key = {"0123456789abcdef0123456789abcde"};

static int make(const void *data, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t) size && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static size_t take(int fd, uint8_t **ret_data)
{
	struct stat status;
	uint8_t *data;

	CHECK(fstat(fd, &status) == 0);
	data = malloc((size_t) status.st_size + 1);
	CHECK(data != NULL);
	CHECK(pread(fd, data, (size_t) status.st_size, 0) == status.st_size);
	*ret_data = data;
	return (size_t) status.st_size;
}

static uint8_t *pattern(size_t size)
{
	uint8_t *data = malloc(size + 1);

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t) (i * 7 + i / 251);
	return data;
}

/* The sealed bytes of size ones. */
static size_t seal(size_t size, uint8_t **ret_sealed)
{
	auto_free uint8_t *data = pattern(size);
	auto_close int in = make(data, size), out = make("", 0);
	struct error err;

	CHECK(sealed_write(in, out, &key, &err) == 0);
	return take(out, ret_sealed);
}

static int open_sealed(const uint8_t *sealed, size_t size, const struct sealed_key *with, int *ret_out)
{
	auto_close int in = make(sealed, size);
	struct error err;

	*ret_out = make("", 0);
	return sealed_read(in, *ret_out, with, &err);
}

static int result_of(const uint8_t *sealed, size_t size, const struct sealed_key *with)
{
	auto_close int out = FD_NONE;

	return open_sealed(sealed, size, with, &out);
}

TEST(what_was_sealed_comes_out_as_it_went_in)
{
	const size_t sizes[] = {0, 1, SEALED_CHUNK_BYTES - 1, SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES + 1, 3 * SEALED_CHUNK_BYTES + 7};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		auto_free uint8_t *sealed = NULL, *opened = NULL, *data = pattern(sizes[i]);
		auto_close int out = FD_NONE;
		size_t size = seal(sizes[i], &sealed);

		CHECK(open_sealed(sealed, size, &key, &out) == 0);
		CHECK(take(out, &opened) == sizes[i] && memcmp(opened, data, sizes[i]) == 0);
	}
}

TEST(twice_the_same_looks_different)
{
	auto_free uint8_t *one = NULL, *other = NULL;
	size_t size = seal(1000, &one);

	CHECK(seal(1000, &other) == size && memcmp(one + HEADER, other + HEADER, size - HEADER) != 0);
}

TEST(another_key_is_refused_as_such)
{
	struct sealed_key other = key;
	auto_free uint8_t *sealed = NULL;
	size_t size = seal(1000, &sealed);

	other.bytes[31] ^= 1;
	CHECK(result_of(sealed, size, &other) == -EKEYREJECTED);
}

TEST(damage_anywhere_is_found)
{
	auto_free uint8_t *sealed = NULL;
	size_t size = seal(SEALED_CHUNK_BYTES + 100, &sealed);

	for (size_t at = 0; at < size; at = at < HEADER + 40 || at + 2000 > size ? at + 1 : at + 9973) {
		int r;

		sealed[at] ^= 0x10;
		r = result_of(sealed, size, &key);
		CHECK(r == -EBADMSG);
		sealed[at] ^= 0x10;
	}
	CHECK(result_of(sealed, size, &key) == 0);
}

TEST(an_end_that_is_missing_or_too_much_is_found)
{
	auto_free uint8_t *sealed = NULL;
	size_t size = seal(2 * SEALED_CHUNK_BYTES + 5, &sealed);
	const size_t ends[] = {0, 10, HEADER, HEADER + 3, HEADER + SEALED_CHUNK, HEADER + 2 * SEALED_CHUNK, size - 16, size - 1};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		CHECK(result_of(sealed, ends[i], &key) == -EBADMSG);
	sealed = realloc(sealed, size + 1);
	sealed[size] = 0;
	CHECK(result_of(sealed, size + 1, &key) == -EBADMSG);
}

TEST(chunks_can_not_change_places)
{
	auto_free uint8_t *sealed = NULL, *room = malloc(SEALED_CHUNK);
	size_t size = seal(2 * SEALED_CHUNK_BYTES + 5, &sealed);

	memcpy(room, sealed + HEADER, SEALED_CHUNK);
	memmove(sealed + HEADER, sealed + HEADER + SEALED_CHUNK, SEALED_CHUNK);
	memcpy(sealed + HEADER + SEALED_CHUNK, room, SEALED_CHUNK);
	CHECK(result_of(sealed, size, &key) == -EBADMSG);
}

static int load(const char *text, size_t size, mode_t mode, struct sealed_key *ret_key)
{
	char path[] = "/tmp/hydra-key-XXXXXX";
	auto_close int fd = mkstemp(path);
	struct error err;
	int r;

	CHECK(fd >= 0 && write(fd, text, size) == (ssize_t) size && fchmod(fd, mode) == 0);
	r = sealed_key_load(ret_key, path, &err);
	CHECK(unlink(path) == 0);
	return r;
}

TEST(a_key_is_32_bytes_or_64_digits_that_nobody_else_reads)
{
	const char *digits = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n";
	struct sealed_key loaded;

	CHECK(load("0123456789abcdef0123456789abcde", 32, 0600, &loaded) == 0 && memcmp(&loaded, &key, 32) == 0);
	CHECK(load(digits, 65, 0400, &loaded) == 0 && loaded.bytes[1] == 0x11 && loaded.bytes[31] == 0xff);
	CHECK(load(digits, 63, 0600, &loaded) == -EINVAL && load("", 0, 0600, &loaded) == -EINVAL && load("zz", 2, 0600, &loaded) == -EINVAL);
	CHECK(load(digits, 65, 0640, &loaded) == -EPERM);
}
