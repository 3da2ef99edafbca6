/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI runtime specification's config.json as C structures, parsed once and then only read.
 */
#pragma once

#include "base/error.h"
#include "runtime/arena.h"
#include "runtime/json_fields.h"

#include <sys/types.h>

#define SPEC_VERSION "1.3.0"

struct spec_rlimit {
	const char *type;
	struct json_uint soft;
	struct json_uint hard;
};

struct spec_user {
	uint32_t uid;
	uint32_t gid;
	struct json_uint umask;
	struct json_ids additional_gids;
};

struct spec_capabilities {
	struct json_strings bounding;
	struct json_strings effective;
	struct json_strings inheritable;
	struct json_strings permitted;
	struct json_strings ambient;
};

struct spec_console_size {
	struct json_uint height;
	struct json_uint width;
};

struct spec_io_priority {
	const char *class;
	struct json_int priority;
};

struct spec_scheduler {
	const char *policy;
	struct json_int nice;
	struct json_int priority;
	struct json_strings flags;
	struct json_uint runtime;
	struct json_uint deadline;
	struct json_uint period;
};

/* Lists of processors, "0-3,7"; NULL: as it comes. */
struct spec_affinity {
	const char *initial;
	const char *final;
};

struct spec_process {
	bool terminal;
	bool no_new_privileges;
	struct spec_console_size *console_size;
	struct spec_user user;
	struct json_strings args;
	struct json_strings env;
	const char *cwd;
	struct spec_capabilities *capabilities;
	JSON_LIST_OF(struct spec_rlimit) rlimits;
	const char *apparmor_profile;
	const char *selinux_label;
	struct json_int oom_score_adjust;
	struct spec_io_priority *io_priority;
	struct spec_scheduler *scheduler;
	struct spec_affinity exec_affinity;
};

struct spec_root {
	const char *path;
	bool is_readonly;
};

struct spec_id_mapping {
	uint32_t container_id;
	uint32_t host_id;
	uint32_t size;
};

typedef JSON_LIST_OF(struct spec_id_mapping) spec_id_mapping_list;

struct spec_mount {
	const char *destination;
	const char *type;
	const char *source;
	struct json_strings options;
	spec_id_mapping_list uid_mappings;
	spec_id_mapping_list gid_mappings;
};

struct spec_hook {
	const char *path;
	struct json_strings args;
	struct json_strings env;
	struct json_int timeout_s;
};

typedef JSON_LIST_OF(struct spec_hook) spec_hook_list;

struct spec_hooks {
	spec_hook_list prestart;
	spec_hook_list create_runtime;
	spec_hook_list create_container;
	spec_hook_list start_container;
	spec_hook_list poststart;
	spec_hook_list poststop;
};

struct spec_namespace {
	const char *type;
	const char *path;
};

struct spec_device {
	const char *type;
	const char *path;
	struct json_int major;
	struct json_int minor;
	struct json_uint file_mode;
	struct json_uint uid;
	struct json_uint gid;
};

struct spec_device_rule {
	bool is_allowed;
	const char *type;
	struct json_int major;
	struct json_int minor;
	const char *access;
};

struct spec_memory {
	struct json_int limit;
	struct json_int reservation;
	struct json_int swap;
	struct json_uint swappiness;
	struct json_int kernel;
	struct json_int kernel_tcp;
	bool use_hierarchy;
	bool disable_oom_killer;
	bool check_before_update;
};

struct spec_cpu {
	struct json_uint shares;
	struct json_int quota;
	struct json_uint burst;
	struct json_uint period;
	struct json_int realtime_runtime;
	struct json_uint realtime_period;
	const char *cpus;
	const char *mems;
	struct json_int idle;
};

struct spec_throttle {
	struct json_int major;
	struct json_int minor;
	struct json_uint rate;
};

struct spec_weight_device {
	struct json_int major;
	struct json_int minor;
	struct json_uint weight;
	struct json_uint leaf_weight;
};

typedef JSON_LIST_OF(struct spec_throttle) spec_throttle_list;

struct spec_block_io {
	struct json_uint weight;
	struct json_uint leaf_weight;
	JSON_LIST_OF(struct spec_weight_device) weight_devices;
	spec_throttle_list read_bps;
	spec_throttle_list write_bps;
	spec_throttle_list read_iops;
	spec_throttle_list write_iops;
};

struct spec_hugepage_limit {
	const char *page_size;
	struct json_uint limit;
};

struct spec_pids {
	struct json_int limit;
};

struct spec_priority {
	const char *name;
	uint32_t priority;
};

struct spec_network {
	uint32_t class_id;
	JSON_LIST_OF(struct spec_priority) priorities;
};

struct spec_rdma {
	const char *device;
	struct json_uint handles;
	struct json_uint objects;
};

struct spec_resources {
	JSON_LIST_OF(struct spec_device_rule) devices;
	struct spec_memory memory;
	struct spec_cpu cpu;
	struct spec_pids pids;
	struct spec_block_io block_io;
	JSON_LIST_OF(struct spec_hugepage_limit) hugepage_limits;
	struct json_map unified;
	struct spec_network network;
	JSON_LIST_OF(struct spec_rdma) rdma;
};

struct spec_seccomp_argument {
	struct json_uint index;
	struct json_uint value;
	struct json_uint value_two;
	const char *operator;
};

struct spec_seccomp_rule {
	struct json_strings names;
	const char *action;
	struct json_uint errno_value;
	JSON_LIST_OF(struct spec_seccomp_argument) arguments;
};

struct spec_seccomp {
	const char *default_action;
	struct json_uint default_errno;
	struct json_strings architectures;
	struct json_strings flags;
	const char *listener_path;
	const char *listener_metadata;
	JSON_LIST_OF(struct spec_seccomp_rule) rules;
};

struct spec_time_offset {
	struct json_int seconds;
	struct json_uint nanoseconds;
};

struct spec_time_offsets {
	struct spec_time_offset monotonic;
	struct spec_time_offset boottime;
};

struct spec_personality {
	const char *domain;
	struct json_strings flags;
};

struct spec_memory_policy {
	const char *mode;
	const char *nodes;
	struct json_strings flags;
};

struct spec_intel_rdt {
	const char *class_id;
	struct json_strings schemata;
	const char *cache_schema;
	const char *bandwidth_schema;
	bool enable_monitoring;
	bool enable_cache_monitoring;
	bool enable_bandwidth_monitoring;
};

struct spec_net_device {
	const char *host_name;
	const char *name; /* in the container; NULL: the same */
};

struct spec_linux {
	JSON_LIST_OF(struct spec_namespace) namespaces;
	spec_id_mapping_list uid_mappings;
	spec_id_mapping_list gid_mappings;
	struct spec_time_offsets time_offsets;
	JSON_LIST_OF(struct spec_device) devices;
	const char *cgroups_path;
	struct spec_resources resources;
	const char *rootfs_propagation;
	struct json_map sysctl;
	struct spec_seccomp *seccomp;
	struct json_strings masked_paths;
	struct json_strings readonly_paths;
	const char *mount_label;
	struct spec_personality *personality;
	struct spec_intel_rdt *intel_rdt;
	struct spec_memory_policy *memory_policy;
	JSON_LIST_OF(struct spec_net_device) net_devices;
};

struct spec {
	const char *oci_version;
	struct spec_root *root;
	struct spec_process *process;
	const char *hostname;
	const char *domainname;
	JSON_LIST_OF(struct spec_mount) mounts;
	struct spec_hooks hooks;
	struct json_map annotations;
	struct spec_linux linux_part;
	struct json_object *document; /* what the strings above live in; the rest lives in the arena */
	struct arena arena;
	char *source; /* of spec_load(): the file as it was */
	size_t source_size;
};

/* The tables behind the parser. */
extern const struct field spec_fields[];
extern const struct field spec_process_fields[];
extern const struct field spec_resources_fields[];
extern const struct field spec_linux_fields[];
extern const struct field spec_hooks_fields[];
extern const struct field spec_id_mapping_fields[];

/* Parses size bytes and checks what the kernel would not: data is not kept. name is for messages ("config.json"). */
int spec_parse(struct spec *self, const char *data, size_t size, const char *name, struct error *err);
/* The same from a file of at most JSON_SIZE_MAX bytes. */
int spec_load(struct spec *self, const char *path, struct error *err);
void spec_deinit(struct spec *self);

/* Impossible combinations, unknown namespaces; every required field is there. */
int spec_check(const struct spec *self, struct error *err);
/* Refuses a process that cannot be started (no args, relative cwd, unknown capability, bad rlimit). */
int spec_process_check(const struct spec_process *process, struct error *err);

/* A part of a configuration on its own: a process for exec, resources for update. */
struct spec_part {
	struct json_object *document;
	struct arena arena;
};

int spec_part_parse(struct spec_part *self, const struct field *fields, const char *data, size_t size, const char *name,
		    void *target, struct error *err);
void spec_part_deinit(struct spec_part *self);

/* The namespace entry with this type ("network"), or NULL. */
const struct spec_namespace *spec_find_namespace(const struct spec *self, const char *type);
/* Value of an annotation, or NULL. */
const char *spec_annotation(const struct spec *self, const char *key);
/* "1" or "true". */
bool spec_annotation_is_true(const struct spec *self, const char *key);
