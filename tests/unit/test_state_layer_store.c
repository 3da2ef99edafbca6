/* SPDX-License-Identifier: Apache-2.0 */
#include "state/layer_store.h"
#include "state/volumes_made.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char data[64];
static char *store;
static struct error err;

static void begin(void)
{
	(void) text_fit(data, sizeof(data), "/tmp/store-XXXXXX");
	CHECK(mkdtemp(data) != NULL);
	store = layer_store_root(data);
}

static void end(void)
{
	CHECK(dir_remove_all(AT_FDCWD, data, &err) == 0);
	free(store);
}

static bool is_there(const char *name)
{
	auto_free char *path = text_format("%s/%s", store, name);

	return path_exists(AT_FDCWD, path);
}

/* Held by the descriptor that is returned. */
static int kept(const char *name)
{
	int fd = FD_NONE;

	CHECK(layer_store_begin(store, name, &fd, &err) == 0);
	CHECK(mkdirat(fd, "bin", 0755) == 0);
	CHECK(layer_store_keep(store, name, DIGEST, &fd, &err) == 0);
	return fd;
}

static int nobody(void *context, const char *path, struct error *ret_err)
{
	(void) context;
	(void) ret_err;
	return path_exists(AT_FDCWD, path) ? 0 : -EIO;
}

static int somebody(void *context, const char *path, struct error *ret_err)
{
	(void) context;
	return fail_because(ret_err, EBUSY, "'%s' is used", path);
}

TEST(a_layer_is_there_when_it_is_complete)
{
	auto_free char *path = NULL;
	int fd = FD_NONE, other = FD_NONE;

	begin();
	path = layer_store_path(store, DIGEST);
	CHECK(layer_store_hold(path, &fd, &err) == -ENOENT);
	CHECK(layer_store_begin(store, "move-1", &fd, &err) == 0);
	CHECK(is_there("incoming/move-1") && !is_there("sha256/" DIGEST));
	CHECK(layer_store_begin(store, "move-1", &other, &err) == -EWOULDBLOCK);
	CHECK(layer_store_keep(store, "move-1", DIGEST, &fd, &err) == 0);
	CHECK(!is_there("incoming/move-1") && is_there("sha256/" DIGEST));
	CHECK(layer_store_hold(path, &other, &err) == 0);
	CHECK(strcmp(layer_store_digest(store, path), DIGEST) == 0 && layer_store_digest(store, data) == NULL);
	(void) close(fd);
	(void) close(other);
	end();
}

TEST(who_comes_second_with_the_same_layer_uses_the_first_one)
{
	int fd, second;

	begin();
	fd = kept("move-1");
	second = kept("move-2");
	CHECK(is_there("sha256/" DIGEST "/bin") && !is_there("incoming/move-2"));
	(void) close(fd);
	CHECK(layer_store_remove(store, DIGEST, nobody, NULL, &err) == -EBUSY);
	(void) close(second);
	CHECK(layer_store_remove(store, DIGEST, nobody, NULL, &err) == 0);
	end();
}

TEST(a_layer_that_is_used_stays)
{
	begin();
	(void) close(kept("move-1"));
	CHECK(layer_store_remove(store, DIGEST, somebody, NULL, &err) == -EBUSY && is_there("sha256/" DIGEST));
	CHECK(layer_store_remove(store, DIGEST, nobody, NULL, &err) == 0 && !is_there("sha256/" DIGEST));
	CHECK(layer_store_remove(store, DIGEST, nobody, NULL, &err) == -ENOENT);
	end();
}

TEST(what_nobody_works_on_is_swept)
{
	int dead = FD_NONE, living = FD_NONE;

	begin();
	CHECK(layer_store_begin(store, "dead", &dead, &err) == 0 && layer_store_begin(store, "living", &living, &err) == 0);
	CHECK(mkdirat(dead, "bin", 0755) == 0);
	(void) close(dead);
	layer_store_sweep(store);
	CHECK(!is_there("incoming/dead") && is_there("incoming/living"));
	layer_store_drop(store, "living");
	CHECK(!is_there("incoming/living"));
	(void) close(living);
	end();
}

TEST(names_that_are_no_digests_are_not_layers)
{
	CHECK(layer_digest_is_valid(DIGEST));
	CHECK(!layer_digest_is_valid("../" DIGEST) && !layer_digest_is_valid("") && !layer_digest_is_valid(DIGEST "0"));
	CHECK(!layer_digest_is_valid("00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"));
}

static char *made(const char *name)
{
	auto_free char *path = text_format("%s/%s", data, name);

	CHECK(volumes_made_add(data, path, &err) == 0);
	return text_copy(path);
}

TEST(volumes_of_a_container_that_did_not_come_go)
{
	auto_free char *empty = NULL, *deep = NULL, *beside = NULL, *file = NULL;

	begin();
	empty = text_format("%s/empty", data);
	beside = text_format("%s/a/beside", data);
	file = text_format("%s/full", data);
	CHECK(mkdir(empty, 0700) == 0);
	free(made("empty"));
	deep = made("a/b/c");
	CHECK(file_replace_fast(AT_FDCWD, beside, "x", 1, 0600, &err) == 0); /* somebody else's */
	volumes_made_undo(data);
	CHECK(path_exists(AT_FDCWD, empty) && path_exists(AT_FDCWD, beside) && !path_exists(AT_FDCWD, deep));
	CHECK(mkdir(file, 0700) == 0);
	free(beside);
	beside = text_format("%s/mine", file);
	CHECK(file_replace_fast(AT_FDCWD, beside, "x", 1, 0600, &err) == 0);
	CHECK(volumes_made_add(data, file, &err) == -ENOTEMPTY);
	volumes_made_undo(data);
	CHECK(path_exists(AT_FDCWD, beside));
	end();
}

TEST(a_fresh_disk_is_free)
{
	auto_free char *disk = NULL, *inner = NULL, *link_path = NULL;

	begin();
	disk = text_format("%s/disk", data);
	inner = text_format("%s/disk/lost+found", data);
	link_path = text_format("%s/link", data);
	CHECK(mkdir(disk, 0755) == 0 && mkdir(inner, 0700) == 0 && symlink(disk, link_path) == 0);
	CHECK(volumes_made_is_free(disk) && !volumes_made_is_free(data) && !volumes_made_is_free(link_path));
	CHECK(volumes_made_add(data, disk, &err) == 0);
	volumes_made_undo(data);
	CHECK(path_exists(AT_FDCWD, inner));
	end();
}

TEST(volumes_of_a_container_that_ran_stay)
{
	auto_free char *volume = NULL, *fate = NULL;

	begin();
	volume = made("a/volume");
	fate = text_format("%s/fate", data);
	CHECK(file_replace_fast(AT_FDCWD, fate, "resumed 7 8", 11, 0600, &err) == 0);
	volumes_made_undo(data);
	CHECK(path_exists(AT_FDCWD, volume));
	CHECK(unlink(fate) == 0);
	volumes_made_keep(data);
	volumes_made_undo(data);
	CHECK(path_exists(AT_FDCWD, volume));
	end();
}
