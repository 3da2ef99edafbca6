/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra update: limits of a container that exists, from options or from JSON.
 */
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/json.h"
#include "runtime/preflight.h"
#include "runtime/resctrl.h"
#include "runtime/schemata.h"
#include "runtime/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

struct update_options {
	const char *resources;
	const char *blkio_weight, *cpu_period, *cpu_quota, *cpu_burst, *cpu_share, *cpu_rt_period, *cpu_rt_runtime;
	const char *cpuset_cpus, *cpuset_mems, *cpu_idle, *memory, *memory_reservation, *memory_swap, *pids_limit;
	const char *l3_cache_schema, *mem_bw_schema;
};

#define UPDATE_MEMBER(member) offsetof(struct update_options, member)

static const struct option_entry entries[] = {
	{'r', "resources", "FILE", OPTION_STRING, UPDATE_MEMBER(resources), "linux.resources as JSON; - is standard input"},
	{0, "blkio-weight", "N", OPTION_STRING, UPDATE_MEMBER(blkio_weight), "block I/O weight, 10 to 1000"},
	{0, "cpu-period", "US", OPTION_STRING, UPDATE_MEMBER(cpu_period), "CPU bandwidth period"},
	{0, "cpu-quota", "US", OPTION_STRING, UPDATE_MEMBER(cpu_quota), "CPU bandwidth per period"},
	{0, "cpu-burst", "US", OPTION_STRING, UPDATE_MEMBER(cpu_burst), "CPU bandwidth that can be saved up"},
	{0, "cpu-share", "N", OPTION_STRING, UPDATE_MEMBER(cpu_share), "CPU weight, 2 to 262144"},
	{0, "cpu-rt-period", "US", OPTION_STRING, UPDATE_MEMBER(cpu_rt_period), "realtime period"},
	{0, "cpu-rt-runtime", "US", OPTION_STRING, UPDATE_MEMBER(cpu_rt_runtime), "realtime runtime"},
	{0, "cpuset-cpus", "LIST", OPTION_STRING, UPDATE_MEMBER(cpuset_cpus), "CPUs to use"},
	{0, "cpuset-mems", "LIST", OPTION_STRING, UPDATE_MEMBER(cpuset_mems), "memory nodes to use"},
	{0, "cpu-idle", "0|1", OPTION_STRING, UPDATE_MEMBER(cpu_idle), "only idle CPU time"},
	{0, "memory", "SIZE", OPTION_STRING, UPDATE_MEMBER(memory), "memory limit; -1: none"},
	{0, "memory-reservation", "SIZE", OPTION_STRING, UPDATE_MEMBER(memory_reservation), "soft memory limit"},
	{0, "memory-swap", "SIZE", OPTION_STRING, UPDATE_MEMBER(memory_swap), "limit of memory and swap together"},
	{0, "kernel-memory", "SIZE", OPTION_IGNORED, 0, "accepted, without effect"},
	{0, "kernel-memory-tcp", "SIZE", OPTION_IGNORED, 0, "accepted, without effect"},
	{0, "pids-limit", "N", OPTION_STRING, UPDATE_MEMBER(pids_limit), "number of processes; -1: no limit"},
	{0, "l3-cache-schema", "TEXT", OPTION_STRING, UPDATE_MEMBER(l3_cache_schema), "Intel RDT: parts of the L3 cache, such as L3:0=ff"},
	{0, "mem-bw-schema", "TEXT", OPTION_STRING, UPDATE_MEMBER(mem_bw_schema), "Intel RDT: memory bandwidth, such as MB:0=70"},
	{0, NULL},
};
static const struct option_table table = {.entries = entries};

static int set_int(const char *option, const char *text, struct json_int *ret_number, struct error *err)
{
	int64_t value;

	if (text == NULL)
		return 0;
	if (number_parse_i64(text, &value) < 0)
		return fail_because(err, EINVAL, "option --%s: '%s' is not a whole number", option, text);
	*ret_number = (struct json_int){.is_set = true, .value = value};
	return 0;
}

static int set_uint(const char *option, const char *text, struct json_uint *ret_number, struct error *err)
{
	uint64_t value;

	if (text == NULL)
		return 0;
	if (number_parse_u64(text, &value) < 0)
		return fail_because(err, EINVAL, "option --%s: '%s' is not a number", option, text);
	*ret_number = (struct json_uint){.is_set = true, .value = value};
	return 0;
}

static int set_size(const char *option, const char *text, struct json_int *ret_number, struct error *err)
{
	uint64_t value = 0;

	if (text == NULL)
		return 0;
	if (strcmp(text, "-1") != 0 && (number_parse_size(text, &value) < 0 || value > INT64_MAX))
		return fail_because(err, EINVAL, "option --%s: '%s' is not a size", option, text);
	*ret_number = (struct json_int){.is_set = true, .value = strcmp(text, "-1") == 0 ? -1 : (int64_t) value};
	return 0;
}

static int from_options(const struct update_options *self, struct spec_resources *resources, struct error *err)
{
	struct spec_cpu *cpu = &resources->cpu;

	cpu->cpus = self->cpuset_cpus;
	cpu->mems = self->cpuset_mems;
	if (set_uint("blkio-weight", self->blkio_weight, &resources->block_io.weight, err) < 0 ||
	    set_uint("cpu-period", self->cpu_period, &cpu->period, err) < 0 ||
	    set_int("cpu-quota", self->cpu_quota, &cpu->quota, err) < 0 ||
	    set_uint("cpu-burst", self->cpu_burst, &cpu->burst, err) < 0 ||
	    set_uint("cpu-share", self->cpu_share, &cpu->shares, err) < 0 ||
	    set_uint("cpu-rt-period", self->cpu_rt_period, &cpu->realtime_period, err) < 0 ||
	    set_int("cpu-rt-runtime", self->cpu_rt_runtime, &cpu->realtime_runtime, err) < 0 ||
	    set_int("cpu-idle", self->cpu_idle, &cpu->idle, err) < 0)
		return err->code;
	if (set_size("memory", self->memory, &resources->memory.limit, err) < 0 ||
	    set_size("memory-reservation", self->memory_reservation, &resources->memory.reservation, err) < 0 ||
	    set_size("memory-swap", self->memory_swap, &resources->memory.swap, err) < 0)
		return err->code;
	return set_int("pids-limit", self->pids_limit, &resources->pids.limit, err);
}

static int from_file(const char *path, struct spec_part *part, struct spec_resources *resources, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;
	int r = strcmp(path, "-") == 0 ? file_read_fd(0, "standard input", JSON_SIZE_MAX, &data, &size, err)
				       : file_read(AT_FDCWD, path, JSON_SIZE_MAX, &data, &size, err);

	return r < 0 ? r : spec_part_parse(part, spec_resources_fields, data, size, "resources", resources, err);
}

static int apply(const struct container *container, const struct spec_resources *resources, struct error *err)
{
	const char *unit = container->state.systemd_unit;
	struct cgroup cgroup;

	if (container_status(container) == CONTAINER_STOPPED)
		return fail_because(err, ESRCH, "cannot update a stopped container: container not running");
	if (cgroup_init(&cgroup, container->state.cgroup_path, err) < 0 || preflight_check_resources(resources, &cgroup, err) < 0)
		return err->code;
	/* first, so that what systemd rounds or does not know is set as it was asked for */
	if (unit != NULL && unit[0] != '\0' && systemd_update(unit, &cgroup, resources, err) < 0)
		return err->code;
	return cgroup_set_limits(&cgroup, resources, err);
}

/* Of its class of service: who shares the class gets it, too. */
static int apply_schemata(const struct update_options *self, const struct container *container, struct error *err)
{
	const char *option = self->l3_cache_schema != NULL ? "l3-cache-schema" : "mem-bw-schema";
	struct spec_intel_rdt wanted = {.cache_schema = self->l3_cache_schema, .bandwidth_schema = self->mem_bw_schema};
	const struct spec_intel_rdt *rdt;
	struct spec spec;
	int r;

	if (self->l3_cache_schema == NULL && self->mem_bw_schema == NULL)
		return 0;
	if (container_load_spec(container, &spec, err) < 0)
		return err->code;
	rdt = spec.linux_part.intel_rdt;
	wanted.class_id = rdt != NULL ? rdt->class_id : NULL;
	r = rdt == NULL ? fail_because(err, ENOTSUP, "option --%s: the container's configuration has no linux.intelRdt", option)
			: schemata_check(&wanted, err);
	if (r == 0)
		r = resctrl_set(&wanted, container->id, err);
	spec_deinit(&spec);
	return r;
}

static int update(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct update_options *self = options;
	struct spec_resources resources = {0};
	struct spec_part part = {0};
	struct container container;
	int r;

	r = self->resources != NULL ? from_file(self->resources, &part, &resources, err) : from_options(self, &resources, err);
	if (r == 0)
		r = container_open(&container, globals->root, rest->positional[0], true, err);
	if (r == 0) {
		r = apply(&container, &resources, err);
		if (r == 0)
			r = apply_schemata(self, &container, err);
		container_close(&container);
	}
	spec_part_deinit(&part);
	return r;
}

const struct command command_update = {
	.name = "update",
	.arguments = "[options] ID",
	.summary = "change the limits of a container",
	.options = &table,
	.options_size = sizeof(struct update_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = update,
};
