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

struct stats {
	const struct cgroup *cgroup;
	struct json_writer json;
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

static void open_object(struct stats *self, const char *key)
{
	json_writer_key(&self->json, key);
	json_writer_open(&self->json, '{');
}

static void close_object(struct stats *self)
{
	json_writer_close(&self->json, '}');
}

static void add_number(struct stats *self, const char *key, uint64_t value)
{
	json_writer_member_uint(&self->json, key, value);
}

static void add_numbers(struct stats *self, const char *key, const char *text)
{
	char *end;

	json_writer_key(&self->json, key);
	json_writer_open(&self->json, '[');
	for (uint64_t value = strtoull(text, &end, 10); end != text; value = strtoull(text, &end, 10)) {
		json_writer_uint(&self->json, value);
		text = end;
	}
	json_writer_close(&self->json, ']');
}

static void add_cpu_usage_unified(struct stats *self, const char *stat)
{
	add_number(self, "total", find_number(stat, "usage_usec") * 1000);
	add_number(self, "kernel", find_number(stat, "system_usec") * 1000);
	add_number(self, "user", find_number(stat, "user_usec") * 1000);
}

static void add_cpu_usage_legacy(struct stats *self)
{
	auto_free char *per_cpu = read_stat_file(self->cgroup, "cpuacct", "cpuacct.usage_percpu");
	auto_free char *split = read_stat_file(self->cgroup, "cpuacct", "cpuacct.stat");
	uint64_t tick_ns = NS_PER_S / (uint64_t) sysconf(_SC_CLK_TCK);

	add_number(self, "total", read_number(self->cgroup, "cpuacct", "cpuacct.usage"));
	add_numbers(self, "percpu", per_cpu);
	add_number(self, "kernel", find_number(split, "system") * tick_ns);
	add_number(self, "user", find_number(split, "user") * tick_ns);
}

static void add_cpu(struct stats *self)
{
	bool is_unified = self->cgroup->is_unified;
	auto_free char *stat = read_stat_file(self->cgroup, "cpu", "cpu.stat");

	open_object(self, "cpu");
	open_object(self, "usage");
	if (is_unified)
		add_cpu_usage_unified(self, stat);
	else
		add_cpu_usage_legacy(self);
	close_object(self);
	open_object(self, "throttling");
	add_number(self, "periods", find_number(stat, "nr_periods"));
	add_number(self, "throttledPeriods", find_number(stat, "nr_throttled"));
	add_number(self, "throttledTime",
		   is_unified ? find_number(stat, "throttled_usec") * 1000 : find_number(stat, "throttled_time"));
	close_object(self);
	close_object(self);
}

static void add_counter(struct stats *self, const char *key, const char *prefix)
{
	auto_free char *usage = text_format("%s.usage_in_bytes", prefix);
	auto_free char *limit = text_format("%s.limit_in_bytes", prefix);
	auto_free char *peak = text_format("%s.max_usage_in_bytes", prefix);
	auto_free char *failures = text_format("%s.failcnt", prefix);

	open_object(self, key);
	add_number(self, "limit", read_number(self->cgroup, "memory", limit));
	add_number(self, "usage", read_number(self->cgroup, "memory", usage));
	add_number(self, "max", read_number(self->cgroup, "memory", peak));
	add_number(self, "failcnt", read_number(self->cgroup, "memory", failures));
	close_object(self);
}

static void add_memory_unified(struct stats *self)
{
	open_object(self, "usage");
	add_number(self, "limit", read_number(self->cgroup, "", "memory.max"));
	add_number(self, "usage", read_number(self->cgroup, "", "memory.current"));
	add_number(self, "max", read_number(self->cgroup, "", "memory.peak"));
	add_number(self, "failcnt", 0);
	close_object(self);
	open_object(self, "swap");
	add_number(self, "limit", read_number(self->cgroup, "", "memory.swap.max"));
	add_number(self, "usage", read_number(self->cgroup, "", "memory.swap.current"));
	close_object(self);
}

static void add_raw(struct stats *self, char *stat)
{
	char *rest = NULL;

	open_object(self, "raw");
	for (char *line = strtok_r(stat, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		char *space = strchr(line, ' ');

		if (space == NULL)
			continue;
		*space = '\0';
		add_number(self, line, strtoull(space + 1, NULL, 10));
	}
	close_object(self);
}

static void add_memory(struct stats *self)
{
	auto_free char *stat = read_stat_file(self->cgroup, "memory", "memory.stat");

	open_object(self, "memory");
	add_number(self, "cache", find_number(stat, self->cgroup->is_unified ? "file" : "cache"));
	if (self->cgroup->is_unified) {
		add_memory_unified(self);
	} else {
		add_counter(self, "usage", "memory");
		add_counter(self, "swap", "memory.memsw");
		add_counter(self, "kernel", "memory.kmem");
		add_counter(self, "kernelTCP", "memory.kmem.tcp");
	}
	add_raw(self, stat);
	close_object(self);
}

static void add_pids(struct stats *self)
{
	uint64_t limit = read_number(self->cgroup, "pids", "pids.max");

	open_object(self, "pids");
	add_number(self, "current", read_number(self->cgroup, "pids", "pids.current"));
	add_number(self, "limit", limit == UINT64_MAX ? 0 : limit);
	close_object(self);
}

static void add_block_line(struct stats *self, const char *line)
{
	char *end;
	uint64_t major = strtoull(line, &end, 10);
	uint64_t minor = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
	const char *operation = end + (*end == ' ');
	size_t size = strcspn(operation, " ");
	auto_free char *name = text_format("%.*s", (int) size, operation);

	if (operation[size] != ' ')
		return; /* the total */
	json_writer_open(&self->json, '{');
	add_number(self, "major", major);
	add_number(self, "minor", minor);
	json_writer_member_string(&self->json, "op", name);
	add_number(self, "value", strtoull(operation + size, NULL, 10));
	close_object(self);
}

static void add_block(struct stats *self, const char *key, const char *file)
{
	auto_free char *data = read_stat_file(self->cgroup, "blkio", file);
	char *rest = NULL;

	json_writer_key(&self->json, key);
	json_writer_open(&self->json, '[');
	for (char *line = strtok_r(data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		add_block_line(self, line);
	json_writer_close(&self->json, ']');
}

static void add_others(struct stats *self)
{
	open_object(self, "blkio");
	if (!self->cgroup->is_unified) {
		add_block(self, "ioServiceBytesRecursive", "blkio.throttle.io_service_bytes");
		add_block(self, "ioServicedRecursive", "blkio.throttle.io_serviced");
	}
	close_object(self);
	open_object(self, "hugetlb");
	close_object(self);
	open_object(self, "intel_rdt");
	close_object(self);
	json_writer_key(&self->json, "network_interfaces");
	json_writer_raw(&self->json, "null");
}

char *cgroup_stats_json(const struct cgroup *cgroup, const char *id)
{
	struct stats self = {.cgroup = cgroup};

	json_writer_open(&self.json, '{');
	json_writer_member_string(&self.json, "type", "stats");
	json_writer_member_string(&self.json, "id", id);
	open_object(&self, "data");
	add_cpu(&self);
	add_memory(&self);
	add_pids(&self);
	add_others(&self);
	close_object(&self);
	close_object(&self);
	return json_writer_finish(&self.json);
}

uint64_t cgroup_oom_kills(const struct cgroup *cgroup)
{
	auto_free char *data = read_stat_file(cgroup, "memory", cgroup->is_unified ? "memory.events" : "memory.oom_control");

	return find_number(data, "oom_kill");
}
