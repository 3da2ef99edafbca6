/* SPDX-License-Identifier: Apache-2.0 */
#include "state/left_data.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MOUNTS_MAX (64U << 20)

static bool is_mounted_below(const char *path)
{
	auto_free char *mounts = NULL;
	auto_free char *below = text_format(" %s/", path);
	struct error ignored;

	return file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX, &mounts, NULL, &ignored) < 0 || strstr(mounts, below) != NULL;
}

int left_data_set_aside(const char *data, const char *namespace, const char *id, struct error *err)
{
	auto_free char *path = text_format("%s/%s/%s", data, namespace, id);
	auto_free char *folder = text_format("%s/.left", data);
	auto_free char *to = text_format("%s/%s.%s.%llu", folder, namespace, id, (unsigned long long) clock_realtime_ns());

	if (!path_exists(AT_FDCWD, path))
		return 0;
	if (is_mounted_below(path))
		return fail_because(err, EBUSY, "'%s' is in use (a container of this name, of another --root?)", path);
	if (dir_make_all(folder, 0700, err) < 0)
		return err->code;
	return rename(path, to) < 0 && errno != ENOENT ? fail_errno(err, errno, "set '%s' aside", path) : 0;
}

struct search {
	const char *data, *root;
	bool only_looks;
	left_data_visitor *visit;
	void *context;
};

/* Calls each for every name in the folder; no folder: for none. */
static int each_entry(const char *path, int (*each)(const struct search *search, const char *parent, const char *name, struct error *err),
		      const struct search *search, const char *parent, struct error *err)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (folder == NULL)
		return errno == ENOENT || errno == ENOTDIR ? 0 : fail_errno(err, errno, "read '%s'", path);
	while (r == 0 && (entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] != '.')
			r = each(search, parent, entry->d_name, err);
	}
	(void) closedir(folder);
	return r;
}

/* Holds the name meanwhile, so that nobody makes a container of it. */
static int collect_one(const struct search *search, const char *namespace, const char *id, struct error *err)
{
	auto_free char *path = text_format("%s/%s/%s", search->data, namespace, id);
	auto_free char *owner = text_format("%s/%s/%s", search->root, namespace, id);
	auto_free char *name = text_format("%s.%s", namespace, id);
	struct run_dir dir;
	int r;

	if (path_exists(AT_FDCWD, owner) || is_mounted_below(path))
		return 0;
	if (search->only_looks) {
		search->visit(name, path, search->context);
		return 0;
	}
	r = run_dir_create(&dir, search->root, namespace, id, err);
	if (r == -EEXIST || r == -EINVAL)
		return 0; /* it has one by now; or it is nothing of ours */
	if (r < 0)
		return r;
	r = left_data_set_aside(search->data, namespace, id, err);
	return run_dir_remove(&dir, r < 0 ? &(struct error){0} : err) < 0 && r == 0 ? err->code : r;
}

static int collect_namespace(const struct search *search, const char *parent, const char *namespace, struct error *err)
{
	auto_free char *path = text_format("%s/%s", parent, namespace);

	return each_entry(path, collect_one, search, namespace, err);
}

static int visit_one(const struct search *search, const char *parent, const char *name, struct error *err)
{
	auto_free char *path = text_format("%s/%s", parent, name);

	(void) err;
	search->visit(name, path, search->context);
	return 0;
}

int left_data_visit(const char *data, const char *root, bool only_looks, left_data_visitor *visit, void *context, struct error *err)
{
	auto_free char *left = text_format("%s/.left", data);
	struct search search = {data, root, only_looks, visit, context};
	int r = each_entry(data, collect_namespace, &search, data, err);

	return r < 0 ? r : each_entry(left, visit_one, &search, left, err);
}
