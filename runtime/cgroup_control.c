/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done to all processes of a cgroup at once: list, signal, kill, freeze.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define FREEZE_PATIENCE_NS (10 * NS_PER_S)
#define PROCS_LIMIT        (16UL << 20)
#define DEPTH_MAX          64

struct process_list {
	pid_t *pids;
	size_t count;
};

/* Any hierarchy shows all processes of the container; prefer the one that a process cannot leave. */
static const struct cgroup_hierarchy *authority(const struct cgroup *self)
{
	const struct cgroup_hierarchy *item = cgroup_find(self, "");

	if (item == NULL || !path_exists(AT_FDCWD, item->dir))
		item = cgroup_find(self, "freezer");
	if (item == NULL)
		item = cgroup_find(self, "pids");
	return item != NULL ? item : self->count > 0 ? &self->items[0] : NULL;
}

static int add_processes(struct process_list *list, const char *data)
{
	while (*data != '\0') {
		pid_t *larger = realloc(list->pids, (list->count + 1) * sizeof(*larger));
		char *end;

		if (larger == NULL)
			return -ENOMEM;
		list->pids = larger;
		list->pids[list->count] = (pid_t) strtol(data, &end, 10);
		list->count += list->pids[list->count] > 0;
		data = *end == '\n' ? end + 1 : end + strlen(end);
	}
	return 0;
}

static int collect(struct process_list *list, const char *dir, int depth, struct error *err)
{
	auto_free char *path = text_format("%s/cgroup.procs", dir);
	auto_free char *data = NULL;
	DIR *folder;
	int r = file_read(AT_FDCWD, path, PROCS_LIMIT, &data, NULL, err);

	if (r == -ENOENT || r == -ENODEV || depth > DEPTH_MAX)
		return 0;
	if (r < 0 && r != -EOPNOTSUPP)
		return r;
	if (r == 0 && add_processes(list, data) < 0)
		return fail_errno(err, ENOMEM, "list processes");
	folder = opendir(dir);
	if (folder == NULL)
		return 0;
	r = 0;
	for (struct dirent *entry = readdir(folder); entry != NULL && r == 0; entry = readdir(folder)) {
		auto_free char *below = NULL;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		below = text_format("%s/%s", dir, entry->d_name);
		r = collect(list, below, depth + 1, err);
	}
	closedir(folder);
	return r;
}

int cgroup_processes(const struct cgroup *self, pid_t **ret_pids, size_t *ret_count, struct error *err)
{
	const struct cgroup_hierarchy *item = authority(self);
	struct process_list list = {0};

	if (item != NULL && collect(&list, item->dir, 0, err) < 0) {
		free(list.pids);
		return err->code;
	}
	*ret_pids = list.pids;
	*ret_count = list.count;
	return 0;
}

int cgroup_signal_each(const pid_t *pids, size_t count, int signal_number, struct error *err)
{
	for (size_t i = 0; i < count; i++)
		if (kill(pids[i], signal_number) < 0 && errno != ESRCH)
			return fail_errno(err, errno, "send signal %d to process %d", signal_number, pids[i]);
	return 0;
}

int cgroup_signal(const struct cgroup *self, int signal_number, struct error *err)
{
	auto_free pid_t *pids = NULL;
	size_t count = 0;

	if (cgroup_processes(self, &pids, &count, err) < 0)
		return err->code;
	return cgroup_signal_each(pids, count, signal_number, err);
}

static bool has_process(const struct cgroup *self)
{
	struct error ignored;
	auto_free pid_t *pids = NULL;
	size_t count = 0;

	return cgroup_processes(self, &pids, &count, &ignored) == 0 && count > 0;
}

int cgroup_check_vacant(const struct cgroup *self, struct error *err)
{
	if (has_process(self))
		return fail_because(err, EBUSY, "linux.cgroupsPath: container's cgroup is not empty: '%s' has processes already", self->path);
	return cgroup_is_frozen(self) ? fail_because(err, EBUSY, "linux.cgroupsPath: container's cgroup unexpectedly frozen: '%s'", self->path) : 0;
}

/* Without cgroup.kill: again and again, since a process may fork between the look and the signal. */
static int kill_by_list(const struct cgroup *self, struct error *err)
{
	const struct timespec moment = {.tv_nsec = (long) NS_PER_MS};

	for (int round = 0; round < 100 && has_process(self); round++) {
		if (cgroup_signal(self, SIGKILL, err) < 0)
			return err->code;
		(void) nanosleep(&moment, NULL);
	}
	return 0;
}

int cgroup_kill(const struct cgroup *self, struct error *err)
{
	const struct cgroup_hierarchy *unified = cgroup_find(self, "");
	const struct cgroup_hierarchy *freezer = cgroup_find(self, "freezer");
	auto_free char *path = unified != NULL ? text_format("%s/cgroup.kill", unified->dir) : text_copy("");
	auto_free char *state = freezer != NULL ? text_format("%s/freezer.state", freezer->dir) : text_copy("");
	struct error ignored;
	int r = 0;

	if (unified == NULL || file_set(AT_FDCWD, path, "1", &ignored) < 0)
		r = kill_by_list(self, err);
	if (freezer != NULL && path_exists(AT_FDCWD, state))
		(void) file_set(AT_FDCWD, state, "THAWED", &ignored);
	return r;
}

static bool reads_as(const char *path, const char *text)
{
	struct error ignored;
	auto_free char *data = NULL;

	return file_read(AT_FDCWD, path, 4096, &data, NULL, &ignored) == 0 && strstr(data, text) != NULL;
}

static int await_text(const char *path, const char *text, struct error *err)
{
	const struct timespec moment = {.tv_nsec = (long) NS_PER_MS};
	uint64_t deadline_ns = clock_monotonic_ns() + FREEZE_PATIENCE_NS;

	while (!reads_as(path, text)) {
		if (clock_monotonic_ns() > deadline_ns)
			return fail_because(err, ETIMEDOUT, "%s did not become '%s'", path, text);
		(void) nanosleep(&moment, NULL);
	}
	return 0;
}

int cgroup_freeze(const struct cgroup *self, bool is_frozen, struct error *err)
{
	const struct cgroup_hierarchy *freezer = cgroup_find(self, "freezer");
	const struct cgroup_hierarchy *item = freezer != NULL ? freezer : cgroup_find(self, "");
	auto_free char *control = NULL;
	auto_free char *events = NULL;

	if (item == NULL)
		return fail_because(err, ENOENT, "the container has no cgroup that can be frozen");
	control = text_format("%s/%s", item->dir, freezer != NULL ? "freezer.state" : "cgroup.freeze");
	events = text_format("%s/%s", item->dir, freezer != NULL ? "freezer.state" : "cgroup.events");
	if (freezer != NULL) {
		if (file_set(AT_FDCWD, control, is_frozen ? "FROZEN" : "THAWED", err) < 0)
			return err->code;
		return await_text(events, is_frozen ? "FROZEN" : "THAWED", err);
	}
	if (file_set(AT_FDCWD, control, is_frozen ? "1" : "0", err) < 0)
		return err->code;
	return await_text(events, is_frozen ? "frozen 1" : "frozen 0", err);
}

bool cgroup_is_frozen(const struct cgroup *self)
{
	const struct cgroup_hierarchy *freezer = cgroup_find(self, "freezer");
	const struct cgroup_hierarchy *unified = cgroup_find(self, "");
	auto_free char *state = freezer != NULL ? text_format("%s/freezer.state", freezer->dir) : NULL;
	auto_free char *freeze = unified != NULL ? text_format("%s/cgroup.events", unified->dir) : NULL;

	if (state != NULL && (reads_as(state, "FROZEN") || reads_as(state, "FREEZING")))
		return true;
	return freeze != NULL && reads_as(freeze, "frozen 1");
}
