/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/cgroup.h"

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define CGROUP_FILE_MAX 65536
#define NO_LIMIT        (1ULL << 62) /* v1 writes "no limit" as a huge number */

static bool has_controller(const char *list, const char *name)
{
	size_t size = strlen(name);

	for (const char *at = strstr(list, name); at != NULL; at = strstr(at + 1, name)) {
		if ((at == list || at[-1] == ',') && (at[size] == ',' || at[size] == '\0'))
			return true;
	}
	return false;
}

/* One line of /proc/PID/cgroup: ID:CONTROLLERS:PATH */
static void take_line(char *line, struct cgroup_paths *paths)
{
	char *controllers = strchr(line, ':');
	char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (path == NULL)
		return;
	*controllers++ = '\0';
	*path++ = '\0';
	if (strcmp(line, "0") == 0 && controllers[0] == '\0' && path_exists(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers")) {
		paths->is_v2 = true;
		(void) text_fit(paths->memory, sizeof(paths->memory), "/sys/fs/cgroup%s", path);
		(void) text_fit(paths->cpu, sizeof(paths->cpu), "/sys/fs/cgroup%s", path);
		(void) text_fit(paths->pids, sizeof(paths->pids), "/sys/fs/cgroup%s", path);
	}
	if (has_controller(controllers, "memory"))
		(void) text_fit(paths->memory, sizeof(paths->memory), "/sys/fs/cgroup/memory%s", path);
	if (has_controller(controllers, "cpuacct"))
		(void) text_fit(paths->cpu, sizeof(paths->cpu), "/sys/fs/cgroup/cpuacct%s", path);
	if (has_controller(controllers, "pids"))
		(void) text_fit(paths->pids, sizeof(paths->pids), "/sys/fs/cgroup/pids%s", path);
}

void cgroup_find(pid_t pid, struct cgroup_paths *ret_paths)
{
	auto_free char *data = NULL;
	struct error ignored;
	char path[32];
	char *rest;

	*ret_paths = (struct cgroup_paths){0};
	(void) text_fit(path, sizeof(path), "/proc/%d/cgroup", (int) pid);
	if (file_read(AT_FDCWD, path, CGROUP_FILE_MAX, &data, NULL, &ignored) < 0)
		return;
	rest = data;
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n"))
		take_line(line, ret_paths);
}

static char *read_file(const char *folder, const char *name)
{
	auto_free char *path = text_format("%s/%s", folder, name);
	char *data = NULL;
	struct error ignored;

	if (folder[0] == '\0' || file_read(AT_FDCWD, path, CGROUP_FILE_MAX, &data, NULL, &ignored) < 0)
		return NULL;
	return data;
}

static uint64_t number_at(const char *text)
{
	return strtoull(text, NULL, 10);
}

/* A file that holds one number; "max" and v1's huge numbers are 0, for "no limit". */
static uint64_t read_number(const char *folder, const char *name)
{
	auto_free char *data = read_file(folder, name);
	uint64_t value = data != NULL && strncmp(data, "max", 3) != 0 ? number_at(data) : 0;

	return value >= NO_LIMIT ? 0 : value;
}

/* A file of "key value" lines. */
static uint64_t read_key(const char *folder, const char *name, const char *key)
{
	auto_free char *data = read_file(folder, name);
	size_t size = strlen(key);

	for (char *line = data; line != NULL && *line != '\0'; line = strchr(line, '\n'), line += line != NULL) {
		if (strncmp(line, key, size) == 0 && line[size] == ' ')
			return number_at(line + size + 1);
		if (strchr(line, '\n') == NULL)
			break;
	}
	return 0;
}

uint64_t cgroup_oom_kills(const struct cgroup_paths *paths)
{
	return read_key(paths->memory, paths->is_v2 ? "memory.events" : "memory.oom_control", "oom_kill");
}

static void stats_v2(const struct cgroup_paths *paths, Hydra__V1__StatsResponse *stats)
{
	stats->cpu_ns = read_key(paths->cpu, "cpu.stat", "usage_usec") * 1000;
	stats->cpu_user_ns = read_key(paths->cpu, "cpu.stat", "user_usec") * 1000;
	stats->cpu_system_ns = read_key(paths->cpu, "cpu.stat", "system_usec") * 1000;
	stats->memory_bytes = read_number(paths->memory, "memory.current");
	stats->memory_limit_bytes = read_number(paths->memory, "memory.max");
	stats->memory_max_bytes = read_number(paths->memory, "memory.peak");
}

#define USER_HZ_NS 10000000ULL /* cpuacct.stat counts in USER_HZ, which is 100 everywhere */

static void stats_v1(const struct cgroup_paths *paths, Hydra__V1__StatsResponse *stats)
{
	stats->cpu_ns = read_number(paths->cpu, "cpuacct.usage");
	stats->cpu_user_ns = read_key(paths->cpu, "cpuacct.stat", "user") * USER_HZ_NS;
	stats->cpu_system_ns = read_key(paths->cpu, "cpuacct.stat", "system") * USER_HZ_NS;
	stats->memory_bytes = read_number(paths->memory, "memory.usage_in_bytes");
	stats->memory_limit_bytes = read_number(paths->memory, "memory.limit_in_bytes");
	stats->memory_max_bytes = read_number(paths->memory, "memory.max_usage_in_bytes");
}

void cgroup_stats(const struct cgroup_paths *paths, Hydra__V1__StatsResponse *ret_stats)
{
	if (paths->is_v2)
		stats_v2(paths, ret_stats);
	else
		stats_v1(paths, ret_stats);
	ret_stats->pids = read_number(paths->pids, "pids.current");
	ret_stats->pids_limit = read_number(paths->pids, "pids.max");
	ret_stats->oom_kills = cgroup_oom_kills(paths);
}
