/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits in cgroup v1.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup_limits.h"
#include "runtime/device_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

static int write_file(const struct cgroup *self, const char *controller, const char *file, const char *value,
		    struct error *err)
{
	const struct cgroup_hierarchy *item = cgroup_find(self, controller);
	char path[CGROUP_PATH_SIZE + 160];

	if (item == NULL)
		return fail_because(err, ENOENT, "no cgroup controller '%s'", controller);
	(void) text_fit(path, sizeof(path), "%s/%s", item->dir, file);
	return file_set(AT_FDCWD, path, value, err);
}

static int set_text(const struct cgroup *self, const char *controller, const char *file, const char *value,
		    struct error *err)
{
	return write_file(self, controller, file, value, err) < 0 ? cgroup_fail_field(file, err) : 0;
}

static int set_int(const struct cgroup *self, const char *controller, const char *file, int64_t value, struct error *err)
{
	char text[32];

	(void) text_fit(text, sizeof(text), "%" PRId64, value);
	return set_text(self, controller, file, text, err);
}

static int set_uint(const struct cgroup *self, const char *controller, const char *file, const struct json_uint *value,
		    struct error *err)
{
	char text[32];

	if (!value->is_set || value->value == 0)
		return 0;
	(void) text_fit(text, sizeof(text), "%" PRIu64, value->value);
	return set_text(self, controller, file, text, err);
}

static int set_memory_pair(const struct cgroup *self, int64_t limit, int64_t swap, struct error *err)
{
	struct error first;

	/* memory may never exceed memory plus swap, so the order depends on whether they grow or shrink */
	if (set_int(self, "memory", "memory.limit_in_bytes", limit, &first) == 0)
		return set_int(self, "memory", "memory.memsw.limit_in_bytes", swap, err);
	if (set_int(self, "memory", "memory.memsw.limit_in_bytes", swap, err) < 0)
		return err->code;
	return set_int(self, "memory", "memory.limit_in_bytes", limit, err);
}

static int set_memory(const struct cgroup *self, const struct spec_memory *memory, struct error *err)
{
	bool has_limit = memory->limit.is_set && memory->limit.value != 0;
	bool has_swap = memory->swap.is_set && memory->swap.value != 0;
	int64_t swap = memory->swap.value;

	if (has_limit && memory->limit.value == -1 && !has_swap) {
		has_swap = path_exists(AT_FDCWD, CGROUP_ROOT "/memory/memory.memsw.limit_in_bytes");
		swap = -1;
	}
	if (has_limit && has_swap) {
		if (set_memory_pair(self, memory->limit.value, swap, err) < 0)
			return err->code;
	} else if (has_limit) {
		if (set_int(self, "memory", "memory.limit_in_bytes", memory->limit.value, err) < 0)
			return err->code;
	} else if (has_swap && set_int(self, "memory", "memory.memsw.limit_in_bytes", swap, err) < 0) {
		return err->code;
	}
	if (memory->reservation.is_set && memory->reservation.value != 0 &&
	    set_int(self, "memory", "memory.soft_limit_in_bytes", memory->reservation.value, err) < 0)
		return err->code;
	if (memory->disable_oom_killer && set_int(self, "memory", "memory.oom_control", 1, err) < 0)
		return err->code;
	if (memory->swappiness.is_set)
		return set_int(self, "memory", "memory.swappiness", (int64_t) memory->swappiness.value, err);
	return 0;
}

static int set_bandwidth(const struct cgroup *self, const struct spec_cpu *cpu, struct error *err)
{
	struct error first;
	bool has_quota = cpu->quota.is_set && cpu->quota.value != 0;

	/* a period alone may be refused because of the old quota, and the other way round */
	if (set_uint(self, "cpu", "cpu.cfs_period_us", &cpu->period, &first) < 0) {
		if (!has_quota)
			return set_uint(self, "cpu", "cpu.cfs_period_us", &cpu->period, err);
		if (set_int(self, "cpu", "cpu.cfs_quota_us", cpu->quota.value, err) < 0)
			return err->code;
		return set_uint(self, "cpu", "cpu.cfs_period_us", &cpu->period, err);
	}
	return has_quota ? set_int(self, "cpu", "cpu.cfs_quota_us", cpu->quota.value, err) : 0;
}

static int set_cpu(const struct cgroup *self, const struct spec_cpu *cpu, struct error *err)
{
	if (set_uint(self, "cpu", "cpu.shares", &cpu->shares, err) < 0 || set_bandwidth(self, cpu, err) < 0 ||
	    set_uint(self, "cpu", "cpu.cfs_burst_us", &cpu->burst, err) < 0 ||
	    set_uint(self, "cpu", "cpu.rt_period_us", &cpu->realtime_period, err) < 0)
		return err->code;
	if (cpu->realtime_runtime.is_set && cpu->realtime_runtime.value != 0 &&
	    set_int(self, "cpu", "cpu.rt_runtime_us", cpu->realtime_runtime.value, err) < 0)
		return err->code;
	if (cpu->idle.is_set && set_int(self, "cpu", "cpu.idle", cpu->idle.value, err) < 0)
		return err->code;
	if (cpu->cpus != NULL && cpu->cpus[0] != '\0' && set_text(self, "cpuset", "cpuset.cpus", cpu->cpus, err) < 0)
		return err->code;
	if (cpu->mems != NULL && cpu->mems[0] != '\0')
		return set_text(self, "cpuset", "cpuset.mems", cpu->mems, err);
	return 0;
}

static int set_throttle(const struct cgroup *self, const spec_throttle_list *list, const char *file, struct error *err)
{
	char text[96];

	for (size_t i = 0; i < list->count; i++) {
		(void) text_fit(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, list->items[i].major.value,
				list->items[i].minor.value, list->items[i].rate.value);
		if (set_text(self, "blkio", file, text, err) < 0)
			return err->code;
	}
	return 0;
}

/* The scheduler that has weights is BFQ; older kernels had CFQ with other file names. */
static int set_block_weight(const struct cgroup *self, const struct json_uint *weight, struct error *err)
{
	struct error first;

	if (set_uint(self, "blkio", "blkio.bfq.weight", weight, &first) == 0)
		return 0;
	return set_uint(self, "blkio", "blkio.weight", weight, err);
}

static int set_block_io(const struct cgroup *self, const struct spec_block_io *io, struct error *err)
{
	char text[96];

	if (set_block_weight(self, &io->weight, err) < 0 ||
	    set_uint(self, "blkio", "blkio.leaf_weight", &io->leaf_weight, err) < 0)
		return err->code;
	for (size_t i = 0; i < io->weight_devices.count; i++) {
		const struct spec_weight_device *device = &io->weight_devices.items[i];

		(void) text_fit(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, device->major.value,
				device->minor.value, device->weight.value);
		if (device->weight.is_set && set_text(self, "blkio", "blkio.bfq.weight_device", text, err) < 0)
			return err->code;
		(void) text_fit(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, device->major.value,
				device->minor.value, device->leaf_weight.value);
		if (device->leaf_weight.is_set && set_text(self, "blkio", "blkio.leaf_weight_device", text, err) < 0)
			return err->code;
	}
	if (set_throttle(self, &io->read_bps, "blkio.throttle.read_bps_device", err) < 0 ||
	    set_throttle(self, &io->write_bps, "blkio.throttle.write_bps_device", err) < 0 ||
	    set_throttle(self, &io->read_iops, "blkio.throttle.read_iops_device", err) < 0)
		return err->code;
	return set_throttle(self, &io->write_iops, "blkio.throttle.write_iops_device", err);
}

static int set_pids(const struct cgroup *self, const struct spec_pids *pids, struct error *err)
{
	if (!pids->limit.is_set || pids->limit.value == 0)
		return 0;
	if (pids->limit.value < 0)
		return set_text(self, "pids", "pids.max", "max", err);
	return set_int(self, "pids", "pids.max", pids->limit.value, err);
}

static int set_hugepages(const struct cgroup *self, const struct spec_resources *resources, struct error *err)
{
	for (size_t i = 0; i < resources->hugepage_limits.count; i++) {
		const struct spec_hugepage_limit *limit = &resources->hugepage_limits.items[i];
		char file[64];

		if (limit->page_size == NULL || !text_fit(file, sizeof(file), "hugetlb.%s.limit_in_bytes", limit->page_size))
			return fail_because(err, EINVAL, "linux.resources.hugepageLimits[%zu].pageSize: missing", i);
		if (set_int(self, "hugetlb", file, (int64_t) limit->limit.value, err) < 0)
			return err->code;
	}
	return 0;
}

static int set_network(const struct cgroup *self, const struct spec_network *network, struct error *err)
{
	char text[64];

	if (network->class_id != 0 && set_int(self, "net_cls", "net_cls.classid", network->class_id, err) < 0)
		return err->code;
	for (size_t i = 0; i < network->priorities.count; i++) {
		const struct spec_priority *item = &network->priorities.items[i];

		if (!text_fit(text, sizeof(text), "%s %u", item->name, item->priority))
			return fail_because(err, EINVAL, "linux.resources.network.priorities[%zu].name: too long", i);
		if (set_text(self, "net_prio", "net_prio.ifpriomap", text, err) < 0)
			return err->code;
	}
	return 0;
}

static int set_rdma(const struct cgroup *self, const struct spec_resources *resources, struct error *err)
{
	char text[160];

	for (size_t i = 0; i < resources->rdma.count; i++) {
		if (!cgroup_rdma_format(&resources->rdma.items[i], text, sizeof(text)))
			return fail_because(err, EINVAL, "linux.resources.rdma: a name is too long");
		if (set_text(self, "rdma", "rdma.max", text, err) < 0)
			return err->code;
	}
	return 0;
}

/* In the hybrid layout some files of linux.resources.unified may exist in the cgroup v2 part. */
static int set_unified(const struct cgroup *self, const struct json_map *unified, struct error *err)
{
	for (size_t i = 0; i < unified->count; i++)
		if (write_file(self, "", unified->items[i].key, unified->items[i].value, err) < 0)
			return fail_while(err, "linux.resources.unified: invalid configuration where cgroup v1 has the controllers");
	return 0;
}

int cgroup_v1_set(const struct cgroup *self, const struct spec_resources *resources, bool is_new, struct error *err)
{
	const struct cgroup_hierarchy *devices = cgroup_find(self, "devices");
	struct device_rules rules;

	if (set_memory(self, &resources->memory, err) < 0 || set_cpu(self, &resources->cpu, err) < 0 ||
	    set_block_io(self, &resources->block_io, err) < 0 || set_pids(self, &resources->pids, err) < 0 ||
	    set_hugepages(self, resources, err) < 0 || set_network(self, &resources->network, err) < 0 ||
	    set_rdma(self, resources, err) < 0 || set_unified(self, &resources->unified, err) < 0)
		return err->code;
	if (devices == NULL || (!is_new && resources->devices.count == 0))
		return 0;
	if (device_rules_init(&rules, resources, err) < 0)
		return err->code;
	return cgroup_v1_set_devices(devices, &rules, err);
}

/* 1: there was nothing, and it has its parent's now. */
static int inherit(const char *parent, const char *dir, const char *file, struct error *err)
{
	auto_free char *from = text_format("%s/%s", parent, file);
	auto_free char *to = text_format("%s/%s", dir, file);
	auto_free char *have = NULL;
	auto_free char *value = NULL;

	if (file_read(AT_FDCWD, to, 4096, &have, NULL, err) < 0)
		return err->code;
	if (have[0] != '\n' && have[0] != '\0')
		return 0;
	if (file_read(AT_FDCWD, from, 4096, &value, NULL, err) < 0)
		return err->code;
	return file_set(AT_FDCWD, to, value, err) < 0 ? err->code : 1;
}

/* Whoever writes CPUs has the kernel sort all of them into scheduling domains anew, which takes milliseconds. What is made below a cpuset with
 * cgroup.clone_children has its CPUs and nodes from the start: so this is paid once, not for each container. */
int cgroup_v1_inherit_cpuset(const char *parent, const char *dir, struct error *err)
{
	auto_free char *clone = text_format("%s/cgroup.clone_children", dir);
	int r = inherit(parent, dir, "cpuset.cpus", err);

	if (r < 0 || inherit(parent, dir, "cpuset.mems", err) < 0)
		return err->code;
	return r > 0 ? file_set(AT_FDCWD, clone, "1", err) : 0;
}

int cgroup_v1_set_devices(const struct cgroup_hierarchy *item, const struct device_rules *rules, struct error *err)
{
	auto_close int dir_fd = FD_NONE;
	char text[64];

	if (device_rules_allow_all(rules))
		return 0;
	dir_fd = open(item->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return fail_errno(err, errno, "open cgroup %s", item->dir);
	if (file_set(dir_fd, rules->allows_by_default ? "devices.allow" : "devices.deny", "a", err) < 0)
		return err->code;
	for (size_t i = 0; i < rules->count; i++) {
		device_rule_format(&rules->items[i], text, sizeof(text));
		if (file_set(dir_fd, rules->items[i].is_allowed ? "devices.allow" : "devices.deny", text, err) < 0)
			return fail_while(err, "device rule '%s'", text);
	}
	return 0;
}
