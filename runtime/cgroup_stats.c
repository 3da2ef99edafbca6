/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the statistics files of both generations of cgroups. Nothing here fails: a file that is not there counts 0.
 */
#include "runtime/cgroup_stats.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/json.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_LIMIT (1UL << 20)

static char *read_stat_file(const struct cgroup *cgroup, const char *controller, const char *file)
{
	const struct cgroup_hierarchy *item = cgroup_find(cgroup, cgroup->is_unified ? "" : controller);
	auto_free char *path = item != NULL ? text_format("%s/%s", item->dir, file) : NULL;
	struct error ignored;
	char *data = NULL;

	if (path == NULL || file_read(AT_FDCWD, path, FILE_LIMIT, &data, NULL, &ignored) < 0)
		return text_copy("");
	return data;
}

static uint64_t read_number(const struct cgroup *cgroup, const char *controller, const char *file)
{
	auto_free char *data = read_stat_file(cgroup, controller, file);

	return text_has_prefix(data, "max") ? UINT64_MAX : strtoull(data, NULL, 10);
}

/* The number after "key " at the start of a line. */
static uint64_t find_number(const char *data, const char *key)
{
	size_t size = strlen(key);

	for (const char *line = data; line != NULL; line = strchr(line, '\n')) {
		line += line[0] == '\n';
		if (strncmp(line, key, size) == 0 && line[size] == ' ')
			return strtoull(line + size + 1, NULL, 10);
	}
	return 0;
}

static void add_numbers(struct json_object *to, const char *key, const char *text)
{
	struct json_object *array = json_add_array(to, key);
	char *end;

	for (uint64_t value = strtoull(text, &end, 10); end != text; value = strtoull(text, &end, 10)) {
		json_add_uint(array, NULL, value);
		text = end;
	}
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static void add_pressure_line(struct json_object *psi, char *line)
{
	char *rest = NULL;
	const char *kind = strtok_r(line, " ", &rest);
	struct json_object *to = kind != NULL ? json_add_object(psi, kind) : NULL;

	for (char *word = strtok_r(NULL, " ", &rest); to != NULL && word != NULL; word = strtok_r(NULL, " ", &rest)) {
		char *value = strchr(word, '=');

		if (value == NULL)
			continue;
		*value++ = '\0';
		if (strcmp(word, "total") == 0)
			json_add_uint(to, word, strtoull(value, NULL, 10));
		else
			(void) json_object_object_add(to, word, json_object_new_double_s(strtod(value, NULL), value));
	}
}

/* Pressure stall information, which only cgroup v2 has; on a hybrid host it is beside the other controllers. */
static void add_pressure(const struct cgroup *cgroup, struct json_object *to, const char *file)
{
	const struct cgroup_hierarchy *item = cgroup_find(cgroup, "");
	auto_free char *path = item != NULL ? text_format("%s/%s", item->dir, file) : NULL;
	auto_free char *data = NULL;
	struct json_object *psi;
	struct error ignored;
	char *rest = NULL;

	if (path == NULL || file_read(AT_FDCWD, path, FILE_LIMIT, &data, NULL, &ignored) < 0)
		return;
	psi = json_add_object(to, "psi");
	for (char *line = strtok_r(data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		add_pressure_line(psi, line);
}

static void add_cpu_usage_unified(struct json_object *to, const char *stat)
{
	json_add_uint(to, "total", find_number(stat, "usage_usec") * 1000);
	json_add_uint(to, "kernel", find_number(stat, "system_usec") * 1000);
	json_add_uint(to, "user", find_number(stat, "user_usec") * 1000);
}

static void add_cpu_usage_legacy(const struct cgroup *cgroup, struct json_object *to)
{
	auto_free char *per_cpu = read_stat_file(cgroup, "cpuacct", "cpuacct.usage_percpu");
	auto_free char *split = read_stat_file(cgroup, "cpuacct", "cpuacct.stat");
	uint64_t tick_ns = NS_PER_S / (uint64_t) sysconf(_SC_CLK_TCK);

	json_add_uint(to, "total", read_number(cgroup, "cpuacct", "cpuacct.usage"));
	add_numbers(to, "percpu", per_cpu);
	json_add_uint(to, "kernel", find_number(split, "system") * tick_ns);
	json_add_uint(to, "user", find_number(split, "user") * tick_ns);
}

static void add_cpu(const struct cgroup *cgroup, struct json_object *to)
{
	bool is_unified = cgroup->is_unified;
	auto_free char *stat = read_stat_file(cgroup, "cpu", "cpu.stat");
	struct json_object *cpu = json_add_object(to, "cpu");
	struct json_object *usage = json_add_object(cpu, "usage");
	struct json_object *throttling = json_add_object(cpu, "throttling");

	if (is_unified)
		add_cpu_usage_unified(usage, stat);
	else
		add_cpu_usage_legacy(cgroup, usage);
	json_add_uint(throttling, "periods", find_number(stat, "nr_periods"));
	json_add_uint(throttling, "throttledPeriods", find_number(stat, "nr_throttled"));
	json_add_uint(throttling, "throttledTime",
		      is_unified ? find_number(stat, "throttled_usec") * 1000 : find_number(stat, "throttled_time"));
	add_pressure(cgroup, cpu, "cpu.pressure");
}

static void add_counter(const struct cgroup *cgroup, struct json_object *to, const char *prefix)
{
	auto_free char *usage = text_format("%s.usage_in_bytes", prefix);
	auto_free char *limit = text_format("%s.limit_in_bytes", prefix);
	auto_free char *peak = text_format("%s.max_usage_in_bytes", prefix);
	auto_free char *failures = text_format("%s.failcnt", prefix);

	json_add_uint(to, "limit", read_number(cgroup, "memory", limit));
	json_add_uint(to, "usage", read_number(cgroup, "memory", usage));
	json_add_uint(to, "max", read_number(cgroup, "memory", peak));
	json_add_uint(to, "failcnt", read_number(cgroup, "memory", failures));
}

static void add_memory_unified(const struct cgroup *cgroup, struct json_object *memory)
{
	struct json_object *usage = json_add_object(memory, "usage");
	struct json_object *swap = json_add_object(memory, "swap");

	json_add_uint(usage, "limit", read_number(cgroup, "", "memory.max"));
	json_add_uint(usage, "usage", read_number(cgroup, "", "memory.current"));
	json_add_uint(usage, "max", read_number(cgroup, "", "memory.peak"));
	json_add_uint(usage, "failcnt", 0);
	json_add_uint(swap, "limit", read_number(cgroup, "", "memory.swap.max"));
	json_add_uint(swap, "usage", read_number(cgroup, "", "memory.swap.current"));
}

static void add_memory_legacy(const struct cgroup *cgroup, struct json_object *memory)
{
	add_counter(cgroup, json_add_object(memory, "usage"), "memory");
	add_counter(cgroup, json_add_object(memory, "swap"), "memory.memsw");
	add_counter(cgroup, json_add_object(memory, "kernel"), "memory.kmem");
	add_counter(cgroup, json_add_object(memory, "kernelTCP"), "memory.kmem.tcp");
}

static void add_raw(struct json_object *raw, char *stat)
{
	char *rest = NULL;

	for (char *line = strtok_r(stat, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		char *space = strchr(line, ' ');

		if (space == NULL)
			continue;
		*space = '\0';
		json_add_uint(raw, line, strtoull(space + 1, NULL, 10));
	}
}

static void add_memory(const struct cgroup *cgroup, struct json_object *to)
{
	auto_free char *stat = read_stat_file(cgroup, "memory", "memory.stat");
	struct json_object *memory = json_add_object(to, "memory");

	json_add_uint(memory, "cache", find_number(stat, cgroup->is_unified ? "file" : "cache"));
	if (cgroup->is_unified)
		add_memory_unified(cgroup, memory);
	else
		add_memory_legacy(cgroup, memory);
	add_raw(json_add_object(memory, "raw"), stat);
	add_pressure(cgroup, memory, "memory.pressure");
}

static void add_pids(const struct cgroup *cgroup, struct json_object *to)
{
	uint64_t limit = read_number(cgroup, "pids", "pids.max");
	struct json_object *pids = json_add_object(to, "pids");

	json_add_uint(pids, "current", read_number(cgroup, "pids", "pids.current"));
	json_add_uint(pids, "limit", limit == UINT64_MAX ? 0 : limit);
}

static void add_block_line(struct json_object *array, const char *line)
{
	char *end;
	uint64_t major = strtoull(line, &end, 10);
	uint64_t minor = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
	const char *operation = end + (*end == ' ');
	size_t size = strcspn(operation, " ");
	auto_free char *name = text_format("%.*s", (int) size, operation);
	struct json_object *item;

	if (operation[size] != ' ')
		return; /* the total */
	item = json_add_object(array, NULL);
	json_add_uint(item, "major", major);
	json_add_uint(item, "minor", minor);
	json_add_string(item, "op", name);
	json_add_uint(item, "value", strtoull(operation + size, NULL, 10));
}

static void add_block(const struct cgroup *cgroup, struct json_object *array, const char *file)
{
	auto_free char *data = read_stat_file(cgroup, "blkio", file);
	char *rest = NULL;

	for (char *line = strtok_r(data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		add_block_line(array, line);
}

static void add_others(const struct cgroup *cgroup, struct json_object *to)
{
	struct json_object *block = json_add_object(to, "blkio");

	if (!cgroup->is_unified) {
		add_block(cgroup, json_add_array(block, "ioServiceBytesRecursive"), "blkio.throttle.io_service_bytes");
		add_block(cgroup, json_add_array(block, "ioServicedRecursive"), "blkio.throttle.io_serviced");
	}
	add_pressure(cgroup, block, "io.pressure");
	(void) json_add_object(to, "hugetlb");
	(void) json_add_object(to, "intel_rdt");
	(void) json_object_object_add(to, "network_interfaces", NULL);
}

char *cgroup_stats_json(const struct cgroup *cgroup, const char *id)
{
	auto_json *json = json_object_new_object();
	struct json_object *data;

	json_add_string(json, "type", "stats");
	json_add_string(json, "id", id);
	data = json_add_object(json, "data");
	add_cpu(cgroup, data);
	add_memory(cgroup, data);
	add_pids(cgroup, data);
	add_others(cgroup, data);
	return json_text(json, false);
}

uint64_t cgroup_oom_kills(const struct cgroup *cgroup)
{
	auto_free char *data = read_stat_file(cgroup, "memory", cgroup->is_unified ? "memory.events" : "memory.oom_control");

	return find_number(data, "oom_kill");
}
