/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl prune: layers that came with containers from other hosts are kept for those that come later, until somebody does this; so is what
 * containers left that a restart of the host ended.
 *
 * No daemon is needed: who uses a layer tells the records of this host's containers, its mounts, and who holds it (state/layer_store.h).
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "state/layer_store.h"
#include "state/left_data.h"
#include "state/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOUNTS_MAX (64U << 20)

struct prune_options {
	bool is_dry_run;
};

static const struct option_entry prune_entries[] = {
	{0, "dry-run", NULL, OPTION_FLAG, offsetof(struct prune_options, is_dry_run), "only list them"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

struct search {
	const struct cli *cli;
	const struct prune_options *options;
	const char *path;
	struct error *err;
};

/* False: it is used, or nobody knows. */
static bool look_at(const char *namespace, const char *id, void *context)
{
	const struct search *self = context;
	auto_free char *folder = text_format("%s/%s/%s", self->cli->root, namespace, id);
	auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_record *container = NULL;
	struct error problem;

	if (fd < 0)
		return true; /* gone meanwhile */
	if (record_load(fd, &container, &problem) < 0) {
		if (problem.code != -ENOENT)
			(void) fail_because(self->err, EBUSY, "container '%s' may use it: %.300s", id, problem.message);
		return problem.code == -ENOENT;
	}
	if (container->rootfs == NULL || strcmp(container->rootfs->lower, self->path) != 0)
		return true;
	(void) fail_because(self->err, EBUSY, "container '%s' uses it", id);
	return false;
}

static int is_used(void *context, const char *path, struct error *err)
{
	struct search *self = context;
	auto_free char *mounts = NULL;
	int r;

	self->path = path;
	self->err = err;
	*err = ERROR_NONE;
	r = run_dir_visit(self->cli->root, NULL, look_at, self, err);
	if (err->code < 0 && r != -ENOENT)
		return err->code;
	/* containers of another --root */
	r = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX, &mounts, NULL, err);
	if (r == 0 && strstr(mounts, path) != NULL)
		return fail_because(err, EBUSY, "it is mounted");
	return r < 0 ? r : self->options->is_dry_run ? fail_because(err, ECANCELED, "it is only looked at") : 0;
}

/* Of a tree, on the disk; with several names of a file counted for each. */
static uint64_t bytes_below(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	uint64_t bytes = 0;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		struct stat status;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		bytes += (uint64_t) status.st_blocks * 512;
		if (S_ISDIR(status.st_mode))
			bytes += bytes_below(dirfd(folder), entry->d_name);
	}
	if (folder != NULL)
		(void) closedir(folder);
	else
		owned_fd_release(&fd);
	return bytes;
}

static void print_one(const struct cli *cli, const char *digest, uint64_t bytes, size_t number)
{
	char size[32];

	format_size(bytes, size, sizeof(size));
	if (cli_wants_json(cli))
		(void) printf("%s{\"digest\":\"sha256:%s\",\"bytes\":%llu}", number > 0 ? ",\n " : "", digest, (unsigned long long) bytes);
	else
		(void) printf("sha256:%s  %s\n", digest, size);
}

struct leftover_search {
	const struct cli *cli;
	bool is_dry_run;
	size_t told;
	int failed;
};

static void prune_leftover(const char *name, const char *path, void *context)
{
	struct leftover_search *self = context;
	uint64_t bytes = bytes_below(AT_FDCWD, path);
	struct error err;
	char size[32];

	if (!self->is_dry_run && dir_remove_all(AT_FDCWD, path, &err) < 0) {
		(void) fprintf(stderr, "hydractl: %s\n", err.message);
		self->failed = 1;
		return;
	}
	format_size(bytes, size, sizeof(size));
	if (cli_wants_json(self->cli))
		(void) printf("%s{\"leftover\":\"%s\",\"bytes\":%llu}", self->told > 0 ? ",\n " : "", name, (unsigned long long) bytes);
	else
		(void) printf("leftover %s  %s\n", name, size);
	self->told++;
}

/* Of containers that were here before a restart of the host. */
static int prune_leftovers(const struct search *search, size_t *told, struct error *err)
{
	struct leftover_search self = {.cli = search->cli, .is_dry_run = search->options->is_dry_run};
	int r = left_data_visit(data_root(), search->cli->root, self.is_dry_run, prune_leftover, &self, err);

	*told = self.told;
	return r < 0 ? r : self.failed;
}

static int prune_all(struct search *self, const char *store, char **digests, size_t count, size_t told, struct error *err)
{
	int failed = 0;

	for (size_t i = 0; i < count; i++) {
		auto_free char *path = layer_store_path(store, digests[i]);
		uint64_t bytes = bytes_below(AT_FDCWD, path);
		int r = layer_store_remove(store, digests[i], is_used, self, err);

		if (r == 0 || r == -ECANCELED)
			print_one(self->cli, digests[i], bytes, told++);
		else if (r != -EBUSY && r != -ENOENT) {
			(void) fprintf(stderr, "hydractl: %s\n", err->message);
			failed = 1;
		}
	}
	return failed;
}

static int prune(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	auto_free char *store = layer_store_root(data_root());
	struct search search = {.cli = cli, .options = context};
	char **digests = NULL;
	size_t count = 0, told = 0;
	int r = layer_store_list(store, &digests, &count, err), left;

	(void) rest;
	if (r < 0)
		return r;
	if (!search.options->is_dry_run)
		layer_store_sweep(store);
	if (cli_wants_json(cli))
		(void) fputs("[", stdout);
	left = prune_leftovers(&search, &told, err);
	if (left >= 0)
		r = prune_all(&search, store, digests, count, told, err);
	if (cli_wants_json(cli))
		(void) puts("]");
	for (size_t i = 0; i < count; i++)
		free(digests[i]);
	free(digests);
	return left != 0 ? left : r;
}

const struct command command_prune = {
	"prune", "[OPTIONS]", "remove what no container uses: layers from other hosts, data from before a restart", prune_entries, sizeof(struct prune_options), 0, 0, false, prune};
