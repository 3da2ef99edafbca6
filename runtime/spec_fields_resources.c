/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables of config.json's "linux.resources".
 */
#include "runtime/spec.h"

#include <stddef.h>

static const struct field device_rule_fields[] = {
	{"allow", FIELD_BOOL, offsetof(struct spec_device_rule, is_allowed), .is_required = true},
	{"type", FIELD_STRING, offsetof(struct spec_device_rule, type)},
	{"major", FIELD_INT, offsetof(struct spec_device_rule, major)},
	{"minor", FIELD_INT, offsetof(struct spec_device_rule, minor)},
	{"access", FIELD_STRING, offsetof(struct spec_device_rule, access)},
	{NULL},
};

static const struct field memory_fields[] = {
	{"limit", FIELD_INT, offsetof(struct spec_memory, limit)},
	{"reservation", FIELD_INT, offsetof(struct spec_memory, reservation)},
	{"swap", FIELD_INT, offsetof(struct spec_memory, swap)},
	{"swappiness", FIELD_UINT, offsetof(struct spec_memory, swappiness)},
	{"kernel", FIELD_INT, offsetof(struct spec_memory, kernel)},
	{"kernelTCP", FIELD_INT, offsetof(struct spec_memory, kernel_tcp)},
	{"useHierarchy", FIELD_BOOL, offsetof(struct spec_memory, use_hierarchy)},
	{"disableOOMKiller", FIELD_BOOL, offsetof(struct spec_memory, disable_oom_killer)},
	{"checkBeforeUpdate", FIELD_BOOL, offsetof(struct spec_memory, check_before_update)},
	{NULL},
};

static const struct field cpu_fields[] = {
	{"shares", FIELD_UINT, offsetof(struct spec_cpu, shares)},
	{"quota", FIELD_INT, offsetof(struct spec_cpu, quota)},
	{"burst", FIELD_UINT, offsetof(struct spec_cpu, burst)},
	{"period", FIELD_UINT, offsetof(struct spec_cpu, period)},
	{"realtimeRuntime", FIELD_INT, offsetof(struct spec_cpu, realtime_runtime)},
	{"realtimePeriod", FIELD_UINT, offsetof(struct spec_cpu, realtime_period)},
	{"cpus", FIELD_STRING, offsetof(struct spec_cpu, cpus)},
	{"mems", FIELD_STRING, offsetof(struct spec_cpu, mems)},
	{"idle", FIELD_INT, offsetof(struct spec_cpu, idle)},
	{NULL},
};

static const struct field throttle_fields[] = {
	{"major", FIELD_INT, offsetof(struct spec_throttle, major), .is_required = true},
	{"minor", FIELD_INT, offsetof(struct spec_throttle, minor), .is_required = true},
	{"rate", FIELD_UINT, offsetof(struct spec_throttle, rate), .is_required = true},
	{NULL},
};

static const struct field weight_device_fields[] = {
	{"major", FIELD_INT, offsetof(struct spec_weight_device, major), .is_required = true},
	{"minor", FIELD_INT, offsetof(struct spec_weight_device, minor), .is_required = true},
	{"weight", FIELD_UINT, offsetof(struct spec_weight_device, weight)},
	{"leafWeight", FIELD_UINT, offsetof(struct spec_weight_device, leaf_weight)},
	{NULL},
};

static const struct field block_io_fields[] = {
	{"weight", FIELD_UINT, offsetof(struct spec_block_io, weight)},
	{"leafWeight", FIELD_UINT, offsetof(struct spec_block_io, leaf_weight)},
	{"weightDevice", FIELD_OBJECTS, offsetof(struct spec_block_io, weight_devices), weight_device_fields, sizeof(struct spec_weight_device)},
	{"throttleReadBpsDevice", FIELD_OBJECTS, offsetof(struct spec_block_io, read_bps), throttle_fields, sizeof(struct spec_throttle)},
	{"throttleWriteBpsDevice", FIELD_OBJECTS, offsetof(struct spec_block_io, write_bps), throttle_fields, sizeof(struct spec_throttle)},
	{"throttleReadIOPSDevice", FIELD_OBJECTS, offsetof(struct spec_block_io, read_iops), throttle_fields, sizeof(struct spec_throttle)},
	{"throttleWriteIOPSDevice", FIELD_OBJECTS, offsetof(struct spec_block_io, write_iops), throttle_fields, sizeof(struct spec_throttle)},
	{NULL},
};

static const struct field hugepage_limit_fields[] = {
	{"pageSize", FIELD_STRING, offsetof(struct spec_hugepage_limit, page_size), .is_required = true},
	{"limit", FIELD_UINT, offsetof(struct spec_hugepage_limit, limit), .is_required = true},
	{NULL},
};

static const struct field pids_fields[] = {
	{"limit", FIELD_INT, offsetof(struct spec_pids, limit)},
	{NULL},
};

static const struct field priority_fields[] = {
	{"name", FIELD_STRING, offsetof(struct spec_priority, name), .is_required = true},
	{"priority", FIELD_ID, offsetof(struct spec_priority, priority), .is_required = true},
	{NULL},
};

static const struct field network_fields[] = {
	{"classID", FIELD_ID, offsetof(struct spec_network, class_id)},
	{"priorities", FIELD_OBJECTS, offsetof(struct spec_network, priorities), priority_fields, sizeof(struct spec_priority)},
	{NULL},
};

static const struct field rdma_fields[] = {
	{"hcaHandles", FIELD_UINT, offsetof(struct spec_rdma, handles)},
	{"hcaObjects", FIELD_UINT, offsetof(struct spec_rdma, objects)},
	{NULL},
};

const struct field spec_resources_fields[] = {
	{"network", FIELD_OBJECT, offsetof(struct spec_resources, network), network_fields},
	{"rdma", FIELD_NAMED, offsetof(struct spec_resources, rdma), rdma_fields, sizeof(struct spec_rdma)},
	{"devices", FIELD_OBJECTS, offsetof(struct spec_resources, devices), device_rule_fields, sizeof(struct spec_device_rule)},
	{"memory", FIELD_OBJECT, offsetof(struct spec_resources, memory), memory_fields},
	{"cpu", FIELD_OBJECT, offsetof(struct spec_resources, cpu), cpu_fields},
	{"pids", FIELD_OBJECT, offsetof(struct spec_resources, pids), pids_fields},
	{"blockIO", FIELD_OBJECT, offsetof(struct spec_resources, block_io), block_io_fields},
	{"hugepageLimits", FIELD_OBJECTS, offsetof(struct spec_resources, hugepage_limits), hugepage_limit_fields, sizeof(struct spec_hugepage_limit)},
	{"unified", FIELD_MAP, offsetof(struct spec_resources, unified)},
	{NULL},
};
