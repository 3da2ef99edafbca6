/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int folder_new(char *name)
{
	return mkdtemp(name) != NULL ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
}

TEST(a_replaced_file_has_the_new_content_and_leaves_nothing_else)
{
	char name[] = "/tmp/hydra-test-XXXXXX";
	auto_close int dir_fd = folder_new(name);
	auto_free char *data = NULL;
	struct error err;
	size_t size = 0;

	CHECK(file_replace(dir_fd, "record", "one", 3, 0600, &err) == 0);
	CHECK(file_replace(dir_fd, "record", "three", 5, 0600, &err) == 0);
	CHECK(file_read(dir_fd, "record", 100, &data, &size, &err) == 0);
	CHECK(size == 5 && strcmp(data, "three") == 0);
	CHECK(unlinkat(dir_fd, "record", 0) == 0);
	CHECK(rmdir(name) == 0);
}

TEST(a_file_over_the_limit_is_refused)
{
	auto_free char *data = NULL;
	struct error err;

	CHECK(file_read(AT_FDCWD, "/proc/self/status", 10, &data, NULL, &err) == -EFBIG);
	CHECK(data == NULL && strstr(err.message, "/proc/self/status") != NULL);
	CHECK(file_read(AT_FDCWD, "/nonexistent", 10, &data, NULL, &err) == -ENOENT);
}

TEST(removal_takes_the_tree_and_not_what_links_point_to)
{
	char name[] = "/tmp/hydra-test-XXXXXX";
	char outside[] = "/tmp/hydra-kept-XXXXXX";
	auto_close int dir_fd = folder_new(name);
	auto_close int kept_fd = folder_new(outside);
	char deep[64];
	struct error err;

	(void) snprintf(deep, sizeof(deep), "%s/a/b/c", name);
	CHECK(dir_make_all(deep, 0700, &err) == 0);
	CHECK(file_replace(dir_fd, "a/b/file", "x", 1, 0600, &err) == 0);
	CHECK(symlinkat(outside, dir_fd, "a/link") == 0);
	CHECK(dir_remove_all(AT_FDCWD, name, &err) == 0);
	CHECK(!path_exists(AT_FDCWD, name));
	CHECK(path_exists(AT_FDCWD, outside));
	CHECK(dir_remove_all(AT_FDCWD, name, &err) == 0);
	CHECK(rmdir(outside) == 0);
}

static void make_old(int dir_fd, const char *name, time_t seconds, long nanoseconds)
{
	struct timespec times[2] = {{.tv_sec = seconds, .tv_nsec = nanoseconds}, {.tv_sec = seconds, .tv_nsec = nanoseconds}};
	struct error err;

	CHECK(file_replace(dir_fd, name, "", 0, 0600, &err) == 0 && utimensat(dir_fd, name, times, 0) == 0);
}

static bool is_no_b(int dir_fd, const char *name)
{
	(void) dir_fd;
	return strcmp(name, "exit.b") != 0;
}

TEST(the_oldest_of_too_many_goes_if_it_may)
{
	char name[] = "/tmp/hydra-test-XXXXXX";
	auto_close int dir_fd = folder_new(name);
	struct error err;

	make_old(dir_fd, "exit", 1, 0);
	make_old(dir_fd, ".exit.h", 1, 0);
	make_old(dir_fd, "exit.c", 3, 0);
	make_old(dir_fd, "exit.b", 2, 1);
	make_old(dir_fd, "exit.a", 2, 2);
	dir_forget_oldest(dir_fd, "exit.", 3, NULL);
	CHECK(path_exists(dir_fd, "exit.a") && path_exists(dir_fd, "exit.b") && path_exists(dir_fd, "exit.c"));
	dir_forget_oldest(dir_fd, "exit.", 2, is_no_b);
	CHECK(!path_exists(dir_fd, "exit.a") && path_exists(dir_fd, "exit.b") && path_exists(dir_fd, "exit.c"));
	dir_forget_oldest(dir_fd, "exit.", 1, NULL);
	CHECK(!path_exists(dir_fd, "exit.b") && path_exists(dir_fd, "exit.c"));
	dir_forget_oldest(dir_fd, "", 0, NULL);
	CHECK(!path_exists(dir_fd, "exit") && path_exists(dir_fd, ".exit.h"));
	CHECK(dir_remove_all(AT_FDCWD, name, &err) == 0);
}

TEST(a_path_in_a_root_cannot_leave_it)
{
	char name[] = "/tmp/hydra-test-XXXXXX";
	auto_close int dir_fd = folder_new(name);
	auto_close int opened = FD_NONE;
	struct error err;

	CHECK(symlinkat("/etc", dir_fd, "etc") == 0);
	CHECK(open_in_root(dir_fd, "etc/passwd", O_RDONLY, 0) < 0);
	CHECK(file_replace(dir_fd, "passwd", "x", 1, 0600, &err) == 0);
	opened = open_in_root(dir_fd, "../../passwd", O_RDONLY, 0);
	CHECK(opened >= 0);
	CHECK(dir_remove_all(AT_FDCWD, name, &err) == 0);
}

TEST(a_locked_file_cannot_be_locked_again_until_it_is_closed)
{
	char name[] = "/tmp/hydra-test-XXXXXX";
	auto_close int first = mkstemp(name);
	int held = FD_NONE, second = FD_NONE;
	struct error err;

	CHECK(file_lock(name, &held, &err) == 0);
	CHECK(file_lock(name, &second, &err) == -EBUSY && second == FD_NONE);
	close(held);
	CHECK(file_lock(name, &second, &err) == 0);
	close(second);
	CHECK(unlink(name) == 0);
	CHECK(file_lock("/nonexistent/lock", &second, &err) == -ENOENT);
}
