/* SPDX-License-Identifier: Apache-2.0 */
#include "state/layer_store.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define COMPLETE   "sha256"
#define INCOMING   "incoming"
#define TRIES_MAX  8

char *layer_store_root(const char *data)
{
	return text_format("%s/.layers", data);
}

char *layer_store_path(const char *store, const char *digest)
{
	return text_format("%s/" COMPLETE "/%s", store, digest);
}

static char *incoming_path(const char *store, const char *name)
{
	return text_format("%s/" INCOMING "/%s", store, name);
}

bool layer_digest_is_valid(const char *digest)
{
	return strlen(digest) == LAYER_DIGEST_SIZE - 1 && strspn(digest, "0123456789abcdef") == LAYER_DIGEST_SIZE - 1;
}

const char *layer_store_digest(const char *store, const char *path)
{
	auto_free char *folder = layer_store_path(store, "");

	if (!text_has_prefix(path, folder) || !layer_digest_is_valid(path + strlen(folder)))
		return NULL;
	return path + strlen(folder);
}

/* Still what the path leads to, and not something that was removed or renamed before it was locked. */
static bool is_at(int fd, const char *path)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int open_locked(const char *path, int operation, int *ret_fd)
{
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || flock(fd, operation) < 0)
		return -errno;
	if (!is_at(fd, path))
		return -ENOENT;
	*ret_fd = take_fd(&fd);
	return 0;
}

int layer_store_hold(const char *path, int *ret_fd, struct error *err)
{
	int r = open_locked(path, LOCK_SH, ret_fd);

	return r < 0 ? fail_errno(err, -r, "use layer '%s'", path) : 0;
}

int layer_store_begin(const char *store, const char *name, int *ret_fd, struct error *err)
{
	auto_free char *complete = layer_store_path(store, "");
	auto_free char *incoming = incoming_path(store, "");
	auto_free char *path = incoming_path(store, name);
	int r = dir_make_all(complete, 0700, err);

	if (r == 0)
		r = dir_make_all(incoming, 0700, err);
	if (r < 0)
		return r;
	/* who sweeps may take it for rubbish in the moment before it is locked */
	for (int i = 0; i < TRIES_MAX; i++) {
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return fail_errno(err, errno, "make '%s'", path);
		r = open_locked(path, LOCK_EX | LOCK_NB, ret_fd);
		if (r == 0)
			return 0;
	}
	return fail_errno(err, -r, "lock '%s'", path);
}

void layer_store_drop(const char *store, const char *name)
{
	auto_free char *path = incoming_path(store, name);
	struct error ignored;

	(void) dir_remove_all(AT_FDCWD, path, &ignored);
}

static int sync_folder(const char *path, struct error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? fail_errno(err, errno, "write '%s'", path) : 0;
}

int layer_store_keep(const char *store, const char *name, const char *digest, int *fd, struct error *err)
{
	auto_free char *from = incoming_path(store, name);
	auto_free char *to = layer_store_path(store, digest);
	auto_free char *folder = layer_store_path(store, "");

	if (syncfs(*fd) < 0)
		return fail_errno(err, errno, "write '%s'", from);
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
		if (flock(*fd, LOCK_SH) < 0 || !is_at(*fd, to))
			return fail_because(err, ENOENT, "layer '%s' was removed again", to);
		return sync_folder(folder, err);
	}
	if (errno != EEXIST)
		return fail_errno(err, errno, "rename '%s' to '%s'", from, to);
	(void) close(take_fd(fd));
	layer_store_drop(store, name);
	return layer_store_hold(to, fd, err);
}

/* Nobody has it locked. */
static void remove_rubbish(const char *folder, const char *name)
{
	auto_free char *path = text_format("%s/%s", folder, name);
	auto_close int fd = FD_NONE;
	struct error ignored;

	if (open_locked(path, LOCK_EX | LOCK_NB, &fd) == 0)
		(void) dir_remove_all(AT_FDCWD, path, &ignored);
}

void layer_store_sweep(const char *store)
{
	auto_free char *folder = incoming_path(store, "");
	DIR *entries = opendir(folder);
	struct dirent *entry;

	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		if (entry->d_name[0] != '.')
			remove_rubbish(folder, entry->d_name);
	}
	if (entries != NULL)
		(void) closedir(entries);
}

static int compare_texts(const void *left, const void *right)
{
	return strcmp(*(char *const *) left, *(char *const *) right);
}

int layer_store_list(const char *store, char ***ret_digests, size_t *ret_count, struct error *err)
{
	auto_free char *folder = layer_store_path(store, "");
	DIR *entries = opendir(folder);
	struct dirent *entry;
	char **digests = NULL;
	size_t count = 0;

	if (entries == NULL && errno != ENOENT)
		return fail_errno(err, errno, "list '%s'", folder);
	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		if (!layer_digest_is_valid(entry->d_name))
			continue;
		digests = reallocarray(digests, count + 1, sizeof(*digests));
		if (digests == NULL)
			abort();
		digests[count++] = text_copy(entry->d_name);
	}
	if (entries != NULL)
		(void) closedir(entries);
	if (count > 0)
		qsort(digests, count, sizeof(*digests), compare_texts);
	*ret_digests = digests;
	*ret_count = count;
	return 0;
}

/* It leaves its place at once and as a whole; what is left of it when we die, layer_store_sweep() removes. */
int layer_store_remove(const char *store, const char *digest, int (*is_used)(void *context, const char *path, struct error *err), void *context,
		       struct error *err)
{
	auto_free char *path = layer_store_path(store, digest);
	auto_free char *rubbish = incoming_path(store, digest);
	auto_free char *incoming = incoming_path(store, "");
	auto_close int fd = FD_NONE;
	int r = open_locked(path, LOCK_EX | LOCK_NB, &fd);

	if (r == -EWOULDBLOCK)
		return fail_because(err, EBUSY, "layer '%s' is about to be used", path);
	if (r < 0)
		return fail_errno(err, -r, "remove layer '%s'", path);
	r = is_used(context, path, err);
	if (r < 0)
		return r;
	r = dir_make_all(incoming, 0700, err);
	if (r == 0 && rename(path, rubbish) < 0)
		r = fail_errno(err, errno, "remove layer '%s'", path);
	return r < 0 ? r : dir_remove_all(AT_FDCWD, rubbish, err);
}
