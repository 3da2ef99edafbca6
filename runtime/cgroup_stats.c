/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the statistics files of both generations of cgroups. Nothing here fails: a file that is not there counts 0.
 */
#include "runtime/cgroup_stats.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

#define FILE_LIMIT (1UL << 20)

struct stats {
	const struct cgroup *cgroup;
	yyjson_mut_doc *json;
};

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

static void add_number(const struct stats *self, yyjson_mut_val *object, const char *key, uint64_t value)
{
	yyjson_mut_obj_add_uint(self->json, object, key, value);
}

static yyjson_mut_val *add_object(const struct stats *self, yyjson_mut_val *object, const char *key)
{
	return yyjson_mut_obj_add_obj(self->json, object, key);
}

static void add_numbers(const struct stats *self, yyjson_mut_val *object, const char *key, const char *text)
{
	yyjson_mut_val *array = yyjson_mut_obj_add_arr(self->json, object, key);
	char *end;

	for (uint64_t value = strtoull(text, &end, 10); end != text; value = strtoull(text, &end, 10)) {
		yyjson_mut_arr_add_uint(self->json, array, value);
		text = end;
	}
}

static void add_cpu(const struct stats *self, yyjson_mut_val *data)
{
	const struct cgroup *cgroup = self->cgroup;
	yyjson_mut_val *cpu = add_object(self, data, "cpu");
	yyjson_mut_val *usage = add_object(self, cpu, "usage");
	yyjson_mut_val *throttling = add_object(self, cpu, "throttling");
	auto_free char *stat = read_stat_file(cgroup, "cpu", "cpu.stat");
	auto_free char *per_cpu = cgroup->is_unified ? text_copy("") : read_stat_file(cgroup, "cpuacct", "cpuacct.usage_percpu");
	auto_free char *split = cgroup->is_unified ? text_copy("") : read_stat_file(cgroup, "cpuacct", "cpuacct.stat");
	uint64_t tick_ns = NS_PER_S / (uint64_t) sysconf(_SC_CLK_TCK);

	if (cgroup->is_unified) {
		add_number(self, usage, "total", find_number(stat, "usage_usec") * 1000);
		add_number(self, usage, "kernel", find_number(stat, "system_usec") * 1000);
		add_number(self, usage, "user", find_number(stat, "user_usec") * 1000);
	} else {
		add_number(self, usage, "total", read_number(cgroup, "cpuacct", "cpuacct.usage"));
		add_numbers(self, usage, "percpu", per_cpu);
		add_number(self, usage, "kernel", find_number(split, "system") * tick_ns);
		add_number(self, usage, "user", find_number(split, "user") * tick_ns);
	}
	add_number(self, throttling, "periods", find_number(stat, "nr_periods"));
	add_number(self, throttling, "throttledPeriods", find_number(stat, "nr_throttled"));
	add_number(self, throttling, "throttledTime",
		   cgroup->is_unified ? find_number(stat, "throttled_usec") * 1000 : find_number(stat, "throttled_time"));
}

static void add_counter(const struct stats *self, yyjson_mut_val *memory, const char *key, const char *prefix)
{
	yyjson_mut_val *object = add_object(self, memory, key);
	auto_free char *usage = text_format("%s.usage_in_bytes", prefix);
	auto_free char *limit = text_format("%s.limit_in_bytes", prefix);
	auto_free char *peak = text_format("%s.max_usage_in_bytes", prefix);
	auto_free char *failures = text_format("%s.failcnt", prefix);

	add_number(self, object, "limit", read_number(self->cgroup, "memory", limit));
	add_number(self, object, "usage", read_number(self->cgroup, "memory", usage));
	add_number(self, object, "max", read_number(self->cgroup, "memory", peak));
	add_number(self, object, "failcnt", read_number(self->cgroup, "memory", failures));
}

static void add_memory_unified(const struct stats *self, yyjson_mut_val *memory)
{
	yyjson_mut_val *usage = add_object(self, memory, "usage");
	yyjson_mut_val *swap = add_object(self, memory, "swap");

	add_number(self, usage, "limit", read_number(self->cgroup, "", "memory.max"));
	add_number(self, usage, "usage", read_number(self->cgroup, "", "memory.current"));
	add_number(self, usage, "max", read_number(self->cgroup, "", "memory.peak"));
	add_number(self, usage, "failcnt", 0);
	add_number(self, swap, "limit", read_number(self->cgroup, "", "memory.swap.max"));
	add_number(self, swap, "usage", read_number(self->cgroup, "", "memory.swap.current"));
}

static void add_raw(const struct stats *self, yyjson_mut_val *memory, char *stat)
{
	yyjson_mut_val *raw = add_object(self, memory, "raw");
	char *rest = NULL;

	for (char *line = strtok_r(stat, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		char *space = strchr(line, ' ');

		if (space == NULL)
			continue;
		*space = '\0';
		yyjson_mut_obj_add_val(self->json, raw, line, yyjson_mut_uint(self->json, strtoull(space + 1, NULL, 10)));
	}
}

static char *add_memory(const struct stats *self, yyjson_mut_val *data)
{
	yyjson_mut_val *memory = add_object(self, data, "memory");
	char *stat = read_stat_file(self->cgroup, "memory", "memory.stat");

	add_number(self, memory, "cache", find_number(stat, self->cgroup->is_unified ? "file" : "cache"));
	if (self->cgroup->is_unified) {
		add_memory_unified(self, memory);
	} else {
		add_counter(self, memory, "usage", "memory");
		add_counter(self, memory, "swap", "memory.memsw");
		add_counter(self, memory, "kernel", "memory.kmem");
		add_counter(self, memory, "kernelTCP", "memory.kmem.tcp");
	}
	add_raw(self, memory, stat);
	return stat; /* the names in the document point into it */
}

static void add_pids(const struct stats *self, yyjson_mut_val *data)
{
	yyjson_mut_val *pids = add_object(self, data, "pids");
	uint64_t limit = read_number(self->cgroup, "pids", "pids.max");

	add_number(self, pids, "current", read_number(self->cgroup, "pids", "pids.current"));
	add_number(self, pids, "limit", limit == UINT64_MAX ? 0 : limit);
}

static void add_block_line(const struct stats *self, yyjson_mut_val *array, const char *line)
{
	char *end;
	uint64_t major = strtoull(line, &end, 10);
	uint64_t minor = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
	const char *operation = end + (*end == ' ');
	size_t size = strcspn(operation, " ");
	yyjson_mut_val *entry;

	if (operation[size] != ' ')
		return; /* the total */
	entry = yyjson_mut_arr_add_obj(self->json, array);
	add_number(self, entry, "major", major);
	add_number(self, entry, "minor", minor);
	yyjson_mut_obj_add_strncpy(self->json, entry, "op", operation, size);
	add_number(self, entry, "value", strtoull(operation + size, NULL, 10));
}

static void add_block(const struct stats *self, yyjson_mut_val *block, const char *key, const char *file)
{
	yyjson_mut_val *array = yyjson_mut_obj_add_arr(self->json, block, key);
	auto_free char *data = read_stat_file(self->cgroup, "blkio", file);
	char *rest = NULL;

	for (char *line = strtok_r(data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		add_block_line(self, array, line);
}

char *cgroup_stats_json(const struct cgroup *cgroup, const char *id)
{
	struct stats self = {.cgroup = cgroup, .json = yyjson_mut_doc_new(NULL)};
	yyjson_mut_val *root = yyjson_mut_obj(self.json);
	yyjson_mut_val *data, *block;
	auto_free char *memory_stat = NULL;
	char *text;

	yyjson_mut_doc_set_root(self.json, root);
	yyjson_mut_obj_add_str(self.json, root, "type", "stats");
	yyjson_mut_obj_add_str(self.json, root, "id", id);
	data = add_object(&self, root, "data");
	add_cpu(&self, data);
	memory_stat = add_memory(&self, data);
	add_pids(&self, data);
	block = add_object(&self, data, "blkio");
	if (!cgroup->is_unified) {
		add_block(&self, block, "ioServiceBytesRecursive", "blkio.throttle.io_service_bytes");
		add_block(&self, block, "ioServicedRecursive", "blkio.throttle.io_serviced");
	}
	(void) add_object(&self, data, "hugetlb");
	(void) add_object(&self, data, "intel_rdt");
	yyjson_mut_obj_add_null(self.json, data, "network_interfaces");
	text = yyjson_mut_write(self.json, YYJSON_WRITE_NOFLAG, NULL);
	yyjson_mut_doc_free(self.json);
	if (text == NULL)
		abort();
	return text;
}

uint64_t cgroup_oom_kills(const struct cgroup *cgroup)
{
	auto_free char *data = read_stat_file(cgroup, "memory", cgroup->is_unified ? "memory.events" : "memory.oom_control");

	return find_number(data, "oom_kill");
}
