/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits in cgroup v2; the configuration speaks cgroup v1, so some values are converted.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup_limits.h"
#include "runtime/device_rules.h"
#include "runtime/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* As the root of a container's cgroup namespace is: beside its processes only controllers of threads could be enabled, and no process could
 * be put below then (EOPNOTSUPP). The real root has no type. */
static bool has_processes(const char *dir)
{
	auto_free char *type_path = text_format("%s/cgroup.type", dir);
	auto_free char *path = text_format("%s/cgroup.procs", dir);
	auto_free char *list = NULL;
	struct error ignored;
	size_t size = 0;

	return path_exists(AT_FDCWD, type_path) && file_read(AT_FDCWD, path, 1UL << 20, &list, &size, &ignored) == 0 && size > 0;
}

int cgroup_v2_enable_controllers(const char *parent, const char *dir, struct error *err)
{
	auto_free char *list_path = text_format("%s/cgroup.controllers", parent);
	auto_free char *control_path = text_format("%s/cgroup.subtree_control", parent);
	auto_free char *list = NULL;
	char *name, *rest;

	(void) dir;
	if (has_processes(parent))
		return 0;
	if (file_read(AT_FDCWD, list_path, 4096, &list, NULL, err) < 0)
		return err->code;
	for (name = strtok_r(list, " \n", &rest); name != NULL; name = strtok_r(NULL, " \n", &rest)) {
		auto_free char *word = text_format("+%s", name);
		struct error ignored;

		/* one that cannot be had is missed by the limit that needs it, which says so */
		(void) file_set(AT_FDCWD, control_path, word, &ignored);
	}
	return 0;
}

static int set_text(int dir_fd, const char *file, const char *value, struct error *err)
{
	return file_set(dir_fd, file, value, err) < 0 ? cgroup_fail_field(file, err) : 0;
}

static int set_int(int dir_fd, const char *file, int64_t value, struct error *err)
{
	char text[32];

	if (value < 0)
		return set_text(dir_fd, file, "max", err);
	(void) text_fit(text, sizeof(text), "%" PRId64, value);
	return set_text(dir_fd, file, text, err);
}

/* cgroup v1 refuses a limit below what is in use by itself, cgroup v2 would kill. */
static int check_usage(int dir_fd, const struct spec_memory *memory, struct error *err)
{
	auto_free char *text = NULL;
	int64_t usage;

	if (!memory->check_before_update)
		return 0;
	if (file_read(dir_fd, "memory.current", 64, &text, NULL, err) < 0)
		return err->code;
	usage = strtoll(text, NULL, 10);
	if (memory->swap.value > 0 && usage > memory->swap.value)
		return fail_because(err, EBUSY, "linux.resources.memory.swap: rejecting memory+swap limit %" PRId64 ": below what is in use (%" PRId64 " bytes)",
				    memory->swap.value, usage);
	if (memory->limit.value > 0 && usage > memory->limit.value)
		return fail_because(err, EBUSY, "linux.resources.memory.limit: rejecting memory limit %" PRId64 ": below what is in use (%" PRId64 " bytes)",
				    memory->limit.value, usage);
	return 0;
}

/* 0 beside a limit is what callers write who mean nothing by it, as for runc; alone it is what it says, as for crun. */
static bool sets_swap(int dir_fd, const struct spec_memory *memory, bool has_limit)
{
	return memory->swap.is_set && (memory->swap.value != 0 || (!has_limit && path_exists(dir_fd, "memory.swap.max")));
}

static int set_memory(int dir_fd, const struct spec_memory *memory, struct error *err)
{
	bool has_limit = memory->limit.is_set && memory->limit.value != 0;
	int64_t swap = memory->swap.value;

	if (check_usage(dir_fd, memory, err) < 0)
		return err->code;
	if (memory->swap.is_set && swap > 0) {
		if (!has_limit || memory->limit.value < 0 || swap < memory->limit.value)
			return fail_because(err, EINVAL, "linux.resources.memory.swap: needs a memory limit that it is not below");
		swap -= memory->limit.value;
	}
	if (sets_swap(dir_fd, memory, has_limit) && set_int(dir_fd, "memory.swap.max", swap, err) < 0)
		return err->code;
	if (has_limit && memory->limit.value == -1 && !memory->swap.is_set &&
	    path_exists(dir_fd, "memory.swap.max") && set_int(dir_fd, "memory.swap.max", -1, err) < 0)
		return err->code;
	if (has_limit && set_int(dir_fd, "memory.max", memory->limit.value, err) < 0)
		return err->code;
	if (memory->reservation.is_set && memory->reservation.value != 0)
		return set_int(dir_fd, "memory.low", memory->reservation.value, err);
	return 0;
}

static int set_cpu_max(int dir_fd, const struct spec_cpu *cpu, struct error *err)
{
	char text[64];
	bool has_quota = cpu->quota.is_set && cpu->quota.value != 0;
	bool has_period = cpu->period.is_set && cpu->period.value != 0;
	auto_free char *current = NULL;

	if (!has_quota && !has_period)
		return 0;
	if (file_read(dir_fd, "cpu.max", 256, &current, NULL, err) < 0)
		return err->code;
	current[strcspn(current, " \n")] = '\0';
	if (has_quota && cpu->quota.value > 0)
		(void) text_fit(text, sizeof(text), "%" PRId64, cpu->quota.value);
	else
		(void) text_fit(text, sizeof(text), "%s", has_quota ? "max" : current);
	if (has_period)
		(void) text_fit(text + strlen(text), sizeof(text) - strlen(text), " %" PRIu64, cpu->period.value);
	return set_text(dir_fd, "cpu.max", text, err);
}

static int set_cpu(int dir_fd, const struct spec_cpu *cpu, struct error *err)
{
	if (cpu->realtime_runtime.is_set && cpu->realtime_runtime.value != 0)
		return fail_because(err, ENOTSUP, "linux.resources.cpu.realtimeRuntime: cgroup v2 does not have it");
	if (cpu->idle.is_set && set_int(dir_fd, "cpu.idle", cpu->idle.value, err) < 0)
		return err->code;
	if (cpu->shares.is_set && cpu->shares.value != 0 && !(cpu->idle.is_set && cpu->idle.value == 1) &&
	    set_int(dir_fd, "cpu.weight", (int64_t) cgroup_weight_from_shares(cpu->shares.value), err) < 0)
		return err->code;
	if (set_cpu_max(dir_fd, cpu, err) < 0)
		return err->code;
	if (cpu->burst.is_set && set_int(dir_fd, "cpu.max.burst", (int64_t) cpu->burst.value, err) < 0)
		return err->code;
	if (cpu->cpus != NULL && cpu->cpus[0] != '\0' && set_text(dir_fd, "cpuset.cpus", cpu->cpus, err) < 0)
		return err->code;
	if (cpu->mems != NULL && cpu->mems[0] != '\0')
		return set_text(dir_fd, "cpuset.mems", cpu->mems, err);
	return 0;
}

static int set_throttle(int dir_fd, const spec_throttle_list *list, const char *key, struct error *err)
{
	char text[96];

	for (size_t i = 0; i < list->count; i++) {
		(void) text_fit(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=%" PRIu64, list->items[i].major.value,
				list->items[i].minor.value, key, list->items[i].rate.value);
		if (set_text(dir_fd, "io.max", text, err) < 0)
			return err->code;
	}
	return 0;
}

static int set_weight(int dir_fd, const char *device, uint64_t weight, struct error *err)
{
	char text[96];

	if (path_exists(dir_fd, "io.bfq.weight")) {
		(void) text_fit(text, sizeof(text), "%s%" PRIu64, device, weight);
		return set_text(dir_fd, "io.bfq.weight", text, err);
	}
	(void) text_fit(text, sizeof(text), "%s%" PRIu64, device[0] != '\0' ? device : "default ",
			cgroup_io_weight_from_blkio(weight));
	return set_text(dir_fd, "io.weight", text, err);
}

static int set_block_io(int dir_fd, const struct spec_block_io *io, struct error *err)
{
	char device[64];

	if (io->weight.is_set && io->weight.value >= 10 && set_weight(dir_fd, "", io->weight.value, err) < 0)
		return err->code;
	for (size_t i = 0; i < io->weight_devices.count; i++) {
		const struct spec_weight_device *item = &io->weight_devices.items[i];

		(void) text_fit(device, sizeof(device), "%" PRId64 ":%" PRId64 " ", item->major.value, item->minor.value);
		if (item->weight.is_set && item->weight.value >= 10 && set_weight(dir_fd, device, item->weight.value, err) < 0)
			return err->code;
	}
	if (set_throttle(dir_fd, &io->read_bps, "rbps", err) < 0 || set_throttle(dir_fd, &io->write_bps, "wbps", err) < 0 ||
	    set_throttle(dir_fd, &io->read_iops, "riops", err) < 0)
		return err->code;
	return set_throttle(dir_fd, &io->write_iops, "wiops", err);
}

static int set_hugepages(int dir_fd, const struct spec_resources *resources, struct error *err)
{
	for (size_t i = 0; i < resources->hugepage_limits.count; i++) {
		const struct spec_hugepage_limit *limit = &resources->hugepage_limits.items[i];
		char file[64];

		if (limit->page_size == NULL || !text_fit(file, sizeof(file), "hugetlb.%s.max", limit->page_size))
			return fail_because(err, EINVAL, "linux.resources.hugepageLimits[%zu].pageSize: missing", i);
		if (set_int(dir_fd, file, (int64_t) limit->limit.value, err) < 0)
			return err->code;
	}
	return 0;
}

bool cgroup_rdma_format(const struct spec_rdma *rdma, char *ret_text, size_t size)
{
	char handles[24] = "max", objects[24] = "max";

	if (rdma->handles.is_set)
		(void) text_fit(handles, sizeof(handles), "%" PRIu64, rdma->handles.value);
	if (rdma->objects.is_set)
		(void) text_fit(objects, sizeof(objects), "%" PRIu64, rdma->objects.value);
	return text_fit(ret_text, size, "%s hca_handle=%s hca_object=%s", rdma->device, handles, objects);
}

static int set_rdma(int dir_fd, const struct spec_resources *resources, struct error *err)
{
	char text[160];

	for (size_t i = 0; i < resources->rdma.count; i++) {
		if (!cgroup_rdma_format(&resources->rdma.items[i], text, sizeof(text)))
			return fail_because(err, EINVAL, "linux.resources.rdma: a name is too long");
		if (set_text(dir_fd, "rdma.max", text, err) < 0)
			return err->code;
	}
	return 0;
}

static bool has_controller(int dir_fd, const char *name, int size)
{
	auto_free char *list = NULL;
	struct error ignored;
	char *rest = NULL;

	if (file_read(dir_fd, "cgroup.controllers", 4096, &list, NULL, &ignored) < 0)
		return false;
	for (char *word = strtok_r(list, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest))
		if (strncmp(word, name, (size_t) size) == 0 && word[size] == '\0')
			return true;
	return false;
}

static int set_unified(int dir_fd, const struct json_map *unified, struct error *err)
{
	for (size_t i = 0; i < unified->count; i++) {
		const char *key = unified->items[i].key;
		int size = (int) strcspn(key, ".");

		if (file_set(dir_fd, key, unified->items[i].value, err) < 0)
			return err->code != -ENOENT || has_controller(dir_fd, key, size)
				       ? fail_while(err, "linux.resources.unified")
				       : fail_because(err, ENOENT, "linux.resources.unified: the requested cgroup controller `%.*s` is not available "
						      "('%s')", size, key, key);
	}
	return 0;
}

int cgroup_v2_set(const struct cgroup_hierarchy *item, const struct spec_resources *resources, bool is_new,
		  struct error *err)
{
	auto_close int dir_fd = open(item->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct device_rules rules;

	if (dir_fd < 0)
		return fail_errno(err, errno, "open cgroup %s", item->dir);
	if (set_memory(dir_fd, &resources->memory, err) < 0 || set_cpu(dir_fd, &resources->cpu, err) < 0 ||
	    set_block_io(dir_fd, &resources->block_io, err) < 0 || set_hugepages(dir_fd, resources, err) < 0 ||
	    set_rdma(dir_fd, resources, err) < 0)
		return err->code;
	if (resources->pids.limit.is_set && resources->pids.limit.value != 0 &&
	    set_int(dir_fd, "pids.max", resources->pids.limit.value, err) < 0)
		return err->code;
	if (set_unified(dir_fd, &resources->unified, err) < 0)
		return err->code;
	if (!is_new && resources->devices.count == 0)
		return 0;
	if (device_rules_init(&rules, resources, err) < 0)
		return err->code;
	/* who may not load programs may not open devices either that are not shared with him */
	if (cgroup_v2_set_devices(item, &rules, err) == -EPERM && is_new && standing_is_rootless())
		*err = ERROR_NONE;
	return err->code;
}
