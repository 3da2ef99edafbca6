/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the parsers that work again later, so that they need not be trusted to have been called. Changes nothing.
 */
#include "runtime/preflight.h"

#include "base/file.h"
#include "base/owned.h"
#include "runtime/device_rules.h"
#include "runtime/memory_policy.h"
#include "runtime/namespaces.h"
#include "runtime/net_devices.h"
#include "runtime/process.h"
#include "runtime/process_schedule.h"
#include "runtime/resctrl.h"
#include "runtime/rootfs.h"
#include "runtime/seccomp_filter.h"
#include "runtime/user_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* A field that needs a controller, which may be another one, or none (NULL), on cgroup v2. */
struct need {
	const char *field;
	bool is_set;
	const char *legacy;
	const char *unified;
};

static bool has_controller(const struct cgroup *cgroup, const char *list, const struct need *need)
{
	char *rest = NULL;
	auto_free char *copy = NULL;

	if (!cgroup->is_unified)
		return cgroup_find(cgroup, need->legacy) != NULL;
	if (need->unified == NULL || list == NULL)
		return false;
	copy = strdup(list);
	for (char *name = copy != NULL ? strtok_r(copy, " \n", &rest) : NULL; name != NULL; name = strtok_r(NULL, " \n", &rest))
		if (strcmp(name, need->unified) == 0)
			return true;
	return false;
}

static int check_needs(const struct cgroup *cgroup, const struct need *needs, size_t count, struct error *err)
{
	auto_free char *list = NULL;

	for (size_t i = 0; i < count; i++) {
		if (!needs[i].is_set)
			continue;
		if (cgroup->is_unified && list == NULL &&
		    file_read(AT_FDCWD, CGROUP_ROOT "/cgroup.controllers", 4096, &list, NULL, err) < 0)
			return err->code;
		if (!has_controller(cgroup, list, &needs[i]))
			return fail_because(err, ENOTSUP, "%s: not supported by this kernel (it has no cgroup controller '%s' here)",
					    needs[i].field, needs[i].legacy);
	}
	return 0;
}

/* Fields whose controller many kernels lack; that the others are missing is told by the file that is not there. */
static int check_controllers(const struct spec_resources *resources, const struct cgroup *cgroup, struct error *err)
{
	const struct need needs[] = {
		{"linux.resources.rdma", resources->rdma.count > 0, "rdma", "rdma"},
		{"linux.resources.hugepageLimits", resources->hugepage_limits.count > 0, "hugetlb", "hugetlb"},
		{"linux.resources.network.classID", resources->network.class_id != 0, "net_cls", NULL},
		{"linux.resources.network.priorities", resources->network.priorities.count > 0, "net_prio", NULL},
	};

	return cgroup->count == 0 ? 0 : check_needs(cgroup, needs, sizeof(needs) / sizeof(needs[0]), err);
}

static int refuse_unless_legacy(const char *field, bool is_set, struct error *err)
{
	return is_set ? fail_because(err, ENOTSUP, "%s: not supported by this kernel (cgroup v2 does not have it)", field) : 0;
}

static int check_legacy_only(const struct spec_resources *resources, const struct cgroup *cgroup, struct error *err)
{
	const struct spec_memory *memory = &resources->memory;
	const struct spec_cpu *cpu = &resources->cpu;

	if (!cgroup->is_unified)
		return 0;
	if (refuse_unless_legacy("linux.resources.memory.disableOOMKiller", memory->disable_oom_killer, err) < 0 ||
	    refuse_unless_legacy("linux.resources.memory.swappiness", memory->swappiness.is_set, err) < 0 ||
	    refuse_unless_legacy("linux.resources.cpu.realtimePeriod", cpu->realtime_period.value != 0, err) < 0)
		return err->code;
	return refuse_unless_legacy("linux.resources.cpu.realtimeRuntime", cpu->realtime_runtime.value != 0, err);
}

static int check_unified(const struct json_map *unified, struct error *err)
{
	for (size_t i = 0; i < unified->count; i++) {
		const char *key = unified->items[i].key;

		if (strchr(key, '/') != NULL || strchr(key, '.') == NULL)
			return fail_because(err, EINVAL, "linux.resources.unified: the specified key has not the form CONTROLLER.VALUE `%s`", key);
	}
	return 0;
}

int preflight_check_resources(const struct spec_resources *resources, const struct cgroup *cgroup, struct error *err)
{
	struct device_rules rules;

	if (device_rules_init(&rules, resources, err) < 0 || check_unified(&resources->unified, err) < 0 || check_controllers(resources, cgroup, err) < 0)
		return err->code;
	return check_legacy_only(resources, cgroup, err);
}

static int check_process(const struct spec *spec, struct error *err)
{
	if (process_schedule_check(spec->process, err) < 0)
		return err->code;
	if (process_check_labels(spec->process, spec->linux_part.mount_label, err) < 0)
		return err->code;
	return process_check_personality(spec->linux_part.personality, err);
}

int preflight_check(const struct spec *spec, const struct cgroup *cgroup, struct error *err)
{
	const struct spec_linux *part = &spec->linux_part;

	if (check_process(spec, err) < 0 || user_map_check(spec, err) < 0 || namespace_plan_check(spec, err) < 0 ||
	    rootfs_check(spec, err) < 0 || memory_policy_check(part->memory_policy, err) < 0 || seccomp_check(part->seccomp, err) < 0)
		return err->code;
	if (resctrl_check(part->intel_rdt, err) < 0 || preflight_check_resources(&part->resources, cgroup, err) < 0)
		return err->code;
	return net_devices_check(spec, err);
}
