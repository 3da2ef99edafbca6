/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the container's cgroups are, how they are made, joined and removed. Limits are in cgroup_limits_*.c.
 *
 * A process joins cgroup v1 by writing "0" to `tasks` itself: unlike a move by somebody else this takes no
 * system-wide lock, which otherwise costs milliseconds per hierarchy. Into cgroup v2 it is born.
 */
#include "runtime/cgroup.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup_limits.h"
#include "runtime/standing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define REMOVE_PATIENCE_NS (5 * NS_PER_S)

static bool has_dot_dot(const char *path)
{
	for (const char *at = strstr(path, ".."); at != NULL; at = strstr(at + 1, ".."))
		if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0'))
			return true;
	return false;
}

int cgroup_path(const char *wanted, const char *id, char ret_path[static CGROUP_PATH_SIZE], struct error *err)
{
	bool fits;

	if (wanted == NULL || wanted[0] == '\0')
		fits = text_fit(ret_path, CGROUP_PATH_SIZE, "/hydra/%s", id);
	else if (wanted[0] == '/')
		fits = text_fit(ret_path, CGROUP_PATH_SIZE, "%s", wanted);
	else
		fits = text_fit(ret_path, CGROUP_PATH_SIZE, "/hydra/%s", wanted);
	if (!fits)
		return fail_because(err, ENAMETOOLONG, "linux.cgroupsPath: longer than %d bytes", CGROUP_PATH_SIZE - 1);
	if (has_dot_dot(ret_path))
		return fail_because(err, EINVAL, "linux.cgroupsPath: '%s' contains '..'", wanted);
	if (strspn(ret_path, "/") == strlen(ret_path))
		return fail_because(err, EINVAL, "linux.cgroupsPath: '%s' is the root cgroup", wanted);
	if (wanted != NULL && wanted[0] != '/' && strchr(wanted, ':') != NULL)
		return fail_because(err, ENOTSUP,
				    "linux.cgroupsPath: '%s' is of systemd's form, which needs --systemd-cgroup", wanted);
	return 0;
}

static void add_hierarchy(struct cgroup *self, const char *name, const char *mount)
{
	struct cgroup_hierarchy *item = &self->items[self->count];

	if (self->count == CGROUP_HIERARCHIES_MAX || !text_fit(item->name, sizeof(item->name), "%s", name) ||
	    !text_fit(item->mount, sizeof(item->mount), "%s", mount) ||
	    !text_fit(item->dir, sizeof(item->dir), "%s%s", mount, self->path))
		return;
	self->count++;
}

/* One line of /proc/self/cgroup: "4:memory:/x", "9:name=systemd:/", "0::/" */
static void add_line(struct cgroup *self, char *line)
{
	char *name = strchr(line, ':');
	char *end = name != NULL ? strchr(name + 1, ':') : NULL;
	struct statfs filesystem;
	char mount[96];

	/* to a user, only cgroup v2 can be handed over */
	if (end == NULL || (standing_is_rootless() && end != name + 1))
		return;
	*end = '\0';
	name++;
	if (!text_fit(mount, sizeof(mount), CGROUP_ROOT "/%s",
		      name[0] == '\0' ? "unified" : text_has_prefix(name, "name=") ? name + 5 : name))
		return;
	/* the folder alone means nothing: the hierarchy may not be mounted here */
	if (statfs(mount, &filesystem) == 0 &&
	    filesystem.f_type == (name[0] == '\0' ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC))
		add_hierarchy(self, name, mount);
}

static int find_legacy(struct cgroup *self, struct error *err)
{
	auto_free char *data = NULL;
	char *line, *rest;

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &data, NULL, err) < 0)
		return err->code;
	for (line = strtok_r(data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		add_line(self, line);
	if (self->count == 0)
		return fail_because(err, ENOENT, "no cgroup hierarchy is mounted below " CGROUP_ROOT);
	return 0;
}

int cgroup_init(struct cgroup *self, const char *path, struct error *err)
{
	struct statfs root;

	self->count = 0;
	self->is_unified = false;
	(void) text_fit(self->path, sizeof(self->path), "%s", path);
	if (path[0] == '\0')
		return 0;
	if (statfs(CGROUP_ROOT, &root) < 0)
		return fail_errno(err, errno, "look at " CGROUP_ROOT);
	self->is_unified = root.f_type == CGROUP2_SUPER_MAGIC;
	if (!self->is_unified)
		return find_legacy(self, err);
	add_hierarchy(self, "", CGROUP_ROOT);
	return 0;
}

const struct cgroup_hierarchy *cgroup_find(const struct cgroup *self, const char *controller)
{
	size_t size = strlen(controller);

	for (size_t i = 0; i < self->count; i++) {
		const char *name = self->items[i].name;

		if (size == 0 && name[0] == '\0')
			return &self->items[i];
		for (const char *at = name; size > 0 && at != NULL; at = strchr(at, ',')) {
			at += at[0] == ',';
			if (strncmp(at, controller, size) == 0 && (at[size] == ',' || at[size] == '\0'))
				return &self->items[i];
		}
	}
	return NULL;
}

/* Makes every missing folder of the path; prepare is called for each that exists or was made, with its parent. */
static int make_folders(const struct cgroup_hierarchy *item, int (*prepare)(const char *parent, const char *dir, struct error *),
			struct error *err)
{
	char dir[sizeof(item->dir)];
	char parent[sizeof(item->dir)];
	size_t start = strlen(item->mount);

	memcpy(dir, item->dir, sizeof(dir));
	memcpy(parent, item->mount, start + 1);
	for (char *slash = strchr(dir + start + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash != NULL)
			*slash = '\0';
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return errno == EACCES ? fail_because(err, EACCES, "unable to apply cgroup configuration: make cgroup %s: permission denied", dir)
					       : fail_errno(err, errno, "make cgroup %s", dir);
		if (prepare != NULL && prepare(parent, dir, err) < 0)
			return err->code;
		if (slash == NULL)
			return 0;
		memcpy(parent, dir, sizeof(parent));
		*slash = '/';
	}
}

int cgroup_make_unified(const struct cgroup *self, const struct spec_resources *resources, int *ret_fd,
			struct error *err)
{
	const struct cgroup_hierarchy *item = cgroup_find(self, "");
	int fd;

	if (item == NULL) {
		*ret_fd = FD_NONE;
		return 0;
	}
	if (make_folders(item, self->is_unified ? cgroup_v2_enable_controllers : NULL, err) < 0)
		return err->code;
	if (self->is_unified && cgroup_v2_set(item, resources, true, err) < 0)
		return err->code;
	fd = open(item->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(err, errno, "open cgroup %s", item->dir);
	*ret_fd = fd;
	return 0;
}

int cgroup_make_legacy(const struct cgroup *self, const struct spec_resources *resources, struct error *err)
{
	if (self->is_unified)
		return 0;
	for (size_t i = 0; i < self->count; i++) {
		const struct cgroup_hierarchy *item = &self->items[i];
		bool is_cpuset = strcmp(item->name, "cpuset") == 0;

		if (item->name[0] != '\0' && make_folders(item, is_cpuset ? cgroup_v1_inherit_cpuset : NULL, err) < 0)
			return err->code;
	}
	return cgroup_v1_set(self, resources, true, err);
}

int cgroup_open_tasks(const struct cgroup *self, int *ret_fds, size_t *ret_count, struct error *err)
{
	char path[CGROUP_PATH_SIZE + 120];
	size_t count = 0;

	for (size_t i = 0; i < self->count; i++) {
		if (self->items[i].name[0] == '\0')
			continue;
		(void) text_fit(path, sizeof(path), "%s/tasks", self->items[i].dir);
		ret_fds[count] = open(path, O_WRONLY | O_CLOEXEC);
		if (ret_fds[count] < 0) {
			(void) fail_errno(err, errno, "open %s", path);
			while (count > 0)
				close(ret_fds[--count]);
			return err->code;
		}
		count++;
	}
	*ret_count = count;
	return 0;
}

int cgroup_join(const int *task_fds, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++)
		if (write(task_fds[i], "0", 1) < 0)
			return fail_errno(err, errno, "join the container's cgroup");
	return 0;
}

int cgroup_set_limits(const struct cgroup *self, const struct spec_resources *resources, struct error *err)
{
	const struct cgroup_hierarchy *unified = cgroup_find(self, "");

	if (self->count == 0)
		return fail_because(err, ENOENT, "the container has no cgroup of its own");
	return self->is_unified ? cgroup_v2_set(unified, resources, false, err) : cgroup_v1_set(self, resources, false, err);
}

static void pause_for(uint64_t ns)
{
	const struct timespec time = {.tv_sec = (time_t) (ns / NS_PER_S), .tv_nsec = (long) (ns % NS_PER_S)};

	(void) nanosleep(&time, NULL);
}

/* Children first. A cgroup can be removed when its last process has been reaped by whoever that is. */
static int remove_folder(const char *dir, uint64_t deadline_ns)
{
	uint64_t wait_ns = NS_PER_MS / 10;
	DIR *folder;

	while (rmdir(dir) < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || clock_monotonic_ns() > deadline_ns)
			return -errno;
		folder = opendir(dir);
		for (struct dirent *entry = folder != NULL ? readdir(folder) : NULL; entry != NULL; entry = readdir(folder)) {
			auto_free char *below = NULL;

			if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
				continue;
			below = text_format("%s/%s", dir, entry->d_name);
			(void) remove_folder(below, deadline_ns);
		}
		if (folder != NULL)
			closedir(folder);
		pause_for(wait_ns);
		wait_ns = wait_ns < 10 * NS_PER_MS ? wait_ns * 2 : wait_ns;
	}
	return 0;
}

int cgroup_remove(const struct cgroup *self, struct error *err)
{
	uint64_t deadline_ns = clock_monotonic_ns() + REMOVE_PATIENCE_NS;
	int result = 0;

	for (size_t i = 0; i < self->count; i++) {
		int r = remove_folder(self->items[i].dir, deadline_ns);

		if (r < 0)
			result = fail_errno(err, -r, "container's cgroup is not empty: remove %s", self->items[i].dir);
	}
	return result;
}
