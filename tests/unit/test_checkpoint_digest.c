/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/layer_digest.h"
#include "tests/unit/harness.h"

#define TREE_DIGEST "a02d6f5ab593f160f9cf3ed22d626050fd26a9480c868c9824ed6dd8d4a862c1"

static char folder[64];
static struct error err;

static char *below(const char *name)
{
	return text_format("%s/%s", folder, name);
}

static void put(const char *name, const void *data, size_t size, off_t offset)
{
	auto_free char *path = below(name);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && pwrite(fd, data, size, offset) == (ssize_t) size);
}

static void settle(const char *name, long seconds)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = 7}};
	auto_free char *path = below(name);

	CHECK(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0);
}

static void make_tree(void)
{
	auto_free char *sub = NULL, *link_path = NULL, *first = NULL, *second = NULL;

	(void) text_fit(folder, sizeof(folder), "/tmp/digest-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	sub = below("sub");
	link_path = below("link");
	first = below("first");
	second = below("sub/second");
	(void) umask(022);
	CHECK(chmod(folder, 0755) == 0 && mkdir(sub, 0750) == 0 && symlink("nowhere", link_path) == 0);
	put("first", "hello", 5, 0);
	put("large", "end", 3, 300000);
	CHECK(link(first, second) == 0);
	for (const char *const *name = (const char *const[]){"first", "large", "link", "sub", "", NULL}; *name != NULL; name++)
		settle(*name, 1000);
}

static void remove_tree(void)
{
	CHECK(dir_remove_all(AT_FDCWD, folder, &err) == 0);
}

/* The caller frees. */
static char *digest_now(void)
{
	auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char digest[LAYER_DIGEST_SIZE] = "";
	struct layer_list list;

	CHECK(layer_list_take(&list, fd, &err) == 0);
	CHECK(layer_digest(fd, &list, true, NULL, digest, &err) == 0);
	layer_list_deinit(&list);
	return text_copy(digest);
}

TEST(a_tree_has_the_same_digest_for_ever)
{
	auto_free char *digest = NULL;

	make_tree();
	digest = digest_now();
	CHECK(layer_digest_is_valid(digest));
	if (geteuid() == 0) /* the owner is in it */
		CHECK(strcmp(digest, TREE_DIGEST) == 0);
	remove_tree();
}

TEST(a_hole_is_as_good_as_zeros)
{
	static const char zeros[300000];
	auto_free char *before = NULL, *after = NULL;

	make_tree();
	before = digest_now();
	put("large", zeros, sizeof(zeros), 0);
	settle("large", 1000);
	after = digest_now();
	CHECK(strcmp(before, after) == 0);
	remove_tree();
}

static void write_other(void)
{
	put("large", "end", 3, 4096);
	settle("large", 1000);
}

static void grow(void)
{
	auto_free char *path = below("first");

	CHECK(truncate(path, 6) == 0);
	settle("first", 1000);
}

static void change_mode(void)
{
	auto_free char *path = below("first");

	CHECK(chmod(path, 0600) == 0);
}

static void change_time(void)
{
	settle("", 1001);
}

static void change_link(void)
{
	auto_free char *path = below("link");

	CHECK(unlink(path) == 0 && symlink("elsewhere", path) == 0);
	settle("link", 1000);
	settle("", 1000);
}

static void unshare_names(void)
{
	auto_free char *path = below("sub/second");

	CHECK(unlink(path) == 0);
	put("sub/second", "hello", 5, 0);
	settle("sub/second", 1000);
	settle("sub", 1000);
}

static void rename_file(void)
{
	auto_free char *from = below("first"), *to = below("firsu");

	CHECK(rename(from, to) == 0);
	settle("", 1000);
}

TEST(every_change_of_a_tree_changes_its_digest)
{
	static void (*const changes[])(void) = {write_other, grow, change_mode, change_time, change_link, unshare_names, rename_file};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		auto_free char *before = NULL, *after = NULL;

		make_tree();
		before = digest_now();
		changes[i]();
		after = digest_now();
		CHECK(strcmp(before, after) != 0);
		remove_tree();
	}
}

static int refuse(void *context, struct error *ret_err)
{
	++*(int *) context;
	return fail_because(ret_err, ECANCELED, "enough");
}

TEST(computing_a_digest_can_be_called_off)
{
	int calls = 0;
	struct layer_turn turn = {refuse, &calls};
	char digest[LAYER_DIGEST_SIZE] = "";
	struct layer_list list;
	int fd;

	make_tree();
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(layer_list_take(&list, fd, &err) == 0);
	CHECK(layer_digest(fd, &list, false, &turn, digest, &err) == -ECANCELED && calls == 1);
	layer_list_deinit(&list);
	(void) close(fd);
	remove_tree();
}

static void fingerprint_now(char *ret_fingerprint)
{
	auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct layer_list list;

	CHECK(layer_list_take(&list, fd, &err) == 0);
	CHECK(layer_is_racy(&list)); /* it was made just now */
	layer_fingerprint(&list, ret_fingerprint);
	layer_list_deinit(&list);
}

TEST(a_change_that_hides_its_time_is_seen)
{
	char before[LAYER_DIGEST_SIZE], same[LAYER_DIGEST_SIZE], after[LAYER_DIGEST_SIZE];
	struct stat old, new;
	auto_free char *path = NULL;

	make_tree();
	path = below("first");
	fingerprint_now(before);
	fingerprint_now(same);
	CHECK(strcmp(before, same) == 0);
	CHECK(stat(path, &old) == 0);
	do { /* until the clock that the kernel takes these times from has gone on */
		put("first", "jello", 5, 0);
		settle("first", 1000);
		CHECK(stat(path, &new) == 0);
	} while (new.st_ctim.tv_sec == old.st_ctim.tv_sec && new.st_ctim.tv_nsec == old.st_ctim.tv_nsec);
	fingerprint_now(after);
	CHECK(strcmp(before, after) != 0);
	remove_tree();
}

static int sink_entry(struct layer_sink *sink, const char *path, Hydra__V1__LayerEntryKind kind, uint64_t size)
{
	Hydra__V1__LayerEntry entry = HYDRA__V1__LAYER_ENTRY__INIT;

	entry.kind = kind;
	entry.path = (char *) (uintptr_t) path;
	entry.mode = 0755;
	entry.uid = geteuid();
	entry.gid = getegid();
	entry.size = size;
	entry.target = (char *) (uintptr_t) "/tmp";
	return layer_sink_entry(sink, &entry, &err);
}

TEST(more_than_was_announced_is_refused)
{
	static const unsigned char data[8 + 4] = {0};
	struct layer_sink sink;
	int fd;

	make_tree();
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	layer_sink_init(&sink, fd);
	sink.bytes_max = 7;
	sink.entries_max = 2;
	CHECK(sink_entry(&sink, "new", HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REGULAR, 4) == 0);
	CHECK(layer_sink_data(&sink, data, sizeof(data), &err) == 0);
	CHECK(layer_sink_data(&sink, data, sizeof(data), &err) == -EPROTO);
	CHECK(sink_entry(&sink, "link", HYDRA__V1__LAYER_ENTRY_KIND__LAYER_SYMLINK, 0) == 0);
	CHECK(sink_entry(&sink, "third", HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY, 0) == -EPROTO);
	layer_sink_deinit(&sink);
	(void) close(fd);
	remove_tree();
}

TEST(nothing_is_written_through_a_link_that_came_along)
{
	struct layer_sink sink;
	int fd;

	make_tree();
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	layer_sink_init(&sink, fd);
	CHECK(sink_entry(&sink, "way", HYDRA__V1__LAYER_ENTRY_KIND__LAYER_SYMLINK, 0) == 0);
	CHECK(sink_entry(&sink, "way/out", HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY, 0) < 0);
	CHECK(sink_entry(&sink, "../out", HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY, 0) == -EPROTO);
	CHECK(sink_entry(&sink, "/tmp/out", HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY, 0) == -EPROTO);
	CHECK(access("/tmp/out", F_OK) != 0);
	layer_sink_deinit(&sink);
	(void) close(fd);
	remove_tree();
}
