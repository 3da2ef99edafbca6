/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables of config.json's "linux".
 */
#include "runtime/spec.h"

#include <stddef.h>

static const struct field namespace_fields[] = {
	{"type", FIELD_STRING, offsetof(struct spec_namespace, type), .is_required = true},
	{"path", FIELD_STRING, offsetof(struct spec_namespace, path)},
	{NULL},
};

static const struct field device_fields[] = {
	{"type", FIELD_STRING, offsetof(struct spec_device, type), .is_required = true},
	{"path", FIELD_STRING, offsetof(struct spec_device, path), .is_required = true},
	{"major", FIELD_INT, offsetof(struct spec_device, major)},
	{"minor", FIELD_INT, offsetof(struct spec_device, minor)},
	{"fileMode", FIELD_UINT, offsetof(struct spec_device, file_mode)},
	{"uid", FIELD_UINT, offsetof(struct spec_device, uid)},
	{"gid", FIELD_UINT, offsetof(struct spec_device, gid)},
	{NULL},
};

static const struct field seccomp_argument_fields[] = {
	{"index", FIELD_UINT, offsetof(struct spec_seccomp_argument, index), .is_required = true},
	{"value", FIELD_UINT, offsetof(struct spec_seccomp_argument, value), .is_required = true},
	{"valueTwo", FIELD_UINT, offsetof(struct spec_seccomp_argument, value_two)},
	{"op", FIELD_STRING, offsetof(struct spec_seccomp_argument, operator), .is_required = true},
	{NULL},
};

static const struct field seccomp_rule_fields[] = {
	{"names", FIELD_STRINGS, offsetof(struct spec_seccomp_rule, names), .is_required = true},
	{"action", FIELD_STRING, offsetof(struct spec_seccomp_rule, action), .is_required = true},
	{"errnoRet", FIELD_UINT, offsetof(struct spec_seccomp_rule, errno_value)},
	{"args", FIELD_OBJECTS, offsetof(struct spec_seccomp_rule, arguments), seccomp_argument_fields, sizeof(struct spec_seccomp_argument)},
	{NULL},
};

static const struct field seccomp_fields[] = {
	{"defaultAction", FIELD_STRING, offsetof(struct spec_seccomp, default_action), .is_required = true},
	{"defaultErrnoRet", FIELD_UINT, offsetof(struct spec_seccomp, default_errno)},
	{"architectures", FIELD_STRINGS, offsetof(struct spec_seccomp, architectures)},
	{"flags", FIELD_STRINGS, offsetof(struct spec_seccomp, flags)},
	{"listenerPath", FIELD_STRING, offsetof(struct spec_seccomp, listener_path)},
	{"listenerMetadata", FIELD_STRING, offsetof(struct spec_seccomp, listener_metadata)},
	{"syscalls", FIELD_OBJECTS, offsetof(struct spec_seccomp, rules), seccomp_rule_fields, sizeof(struct spec_seccomp_rule)},
	{NULL},
};

static const struct field time_offset_fields[] = {
	{"secs", FIELD_INT, offsetof(struct spec_time_offset, seconds)},
	{"nanosecs", FIELD_UINT, offsetof(struct spec_time_offset, nanoseconds)},
	{NULL},
};

static const struct field time_offsets_fields[] = {
	{"monotonic", FIELD_OBJECT, offsetof(struct spec_time_offsets, monotonic), time_offset_fields},
	{"boottime", FIELD_OBJECT, offsetof(struct spec_time_offsets, boottime), time_offset_fields},
	{NULL},
};

static const struct field personality_fields[] = {
	{"domain", FIELD_STRING, offsetof(struct spec_personality, domain), .is_required = true},
	{"flags", FIELD_STRINGS, offsetof(struct spec_personality, flags)},
	{NULL},
};

static const struct field memory_policy_fields[] = {
	{"mode", FIELD_STRING, offsetof(struct spec_memory_policy, mode)},
	{"nodes", FIELD_STRING, offsetof(struct spec_memory_policy, nodes)},
	{"flags", FIELD_STRINGS, offsetof(struct spec_memory_policy, flags)},
	{NULL},
};

static const struct field intel_rdt_fields[] = {
	{"closID", FIELD_STRING, offsetof(struct spec_intel_rdt, class_id)},
	{"schemata", FIELD_STRINGS, offsetof(struct spec_intel_rdt, schemata)},
	{"l3CacheSchema", FIELD_STRING, offsetof(struct spec_intel_rdt, cache_schema)},
	{"memBwSchema", FIELD_STRING, offsetof(struct spec_intel_rdt, bandwidth_schema)},
	{"enableMonitoring", FIELD_BOOL, offsetof(struct spec_intel_rdt, enable_monitoring)},
	{"enableCMT", FIELD_BOOL, offsetof(struct spec_intel_rdt, enable_cache_monitoring)},
	{"enableMBM", FIELD_BOOL, offsetof(struct spec_intel_rdt, enable_bandwidth_monitoring)},
	{NULL},
};

static const struct field net_device_fields[] = {
	{"name", FIELD_STRING, offsetof(struct spec_net_device, name)},
	{NULL},
};

const struct field spec_linux_fields[] = {
	{"namespaces", FIELD_OBJECTS, offsetof(struct spec_linux, namespaces), namespace_fields, sizeof(struct spec_namespace)},
	{"uidMappings", FIELD_OBJECTS, offsetof(struct spec_linux, uid_mappings), spec_id_mapping_fields, sizeof(struct spec_id_mapping)},
	{"gidMappings", FIELD_OBJECTS, offsetof(struct spec_linux, gid_mappings), spec_id_mapping_fields, sizeof(struct spec_id_mapping)},
	{"timeOffsets", FIELD_OBJECT, offsetof(struct spec_linux, time_offsets), time_offsets_fields},
	{"devices", FIELD_OBJECTS, offsetof(struct spec_linux, devices), device_fields, sizeof(struct spec_device)},
	{"cgroupsPath", FIELD_STRING, offsetof(struct spec_linux, cgroups_path)},
	{"resources", FIELD_OBJECT, offsetof(struct spec_linux, resources), spec_resources_fields},
	{"rootfsPropagation", FIELD_STRING, offsetof(struct spec_linux, rootfs_propagation)},
	{"sysctl", FIELD_MAP, offsetof(struct spec_linux, sysctl)},
	{"seccomp", FIELD_OPTIONAL, offsetof(struct spec_linux, seccomp), seccomp_fields, sizeof(struct spec_seccomp)},
	{"maskedPaths", FIELD_STRINGS, offsetof(struct spec_linux, masked_paths)},
	{"readonlyPaths", FIELD_STRINGS, offsetof(struct spec_linux, readonly_paths)},
	{"mountLabel", FIELD_STRING, offsetof(struct spec_linux, mount_label)},
	{"personality", FIELD_OPTIONAL, offsetof(struct spec_linux, personality), personality_fields, sizeof(struct spec_personality)},
	{"intelRdt", FIELD_OPTIONAL, offsetof(struct spec_linux, intel_rdt), intel_rdt_fields, sizeof(struct spec_intel_rdt)},
	{"memoryPolicy", FIELD_OPTIONAL, offsetof(struct spec_linux, memory_policy), memory_policy_fields, sizeof(struct spec_memory_policy)},
	{"netDevices", FIELD_NAMED, offsetof(struct spec_linux, net_devices), net_device_fields, sizeof(struct spec_net_device)},
	{NULL},
};
