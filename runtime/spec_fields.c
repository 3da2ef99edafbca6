/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables of config.json's outermost objects.
 */
#include "runtime/spec.h"

#include <stddef.h>

static const struct field root_fields[] = {
	{"path", FIELD_STRING, offsetof(struct spec_root, path), .is_required = true},
	{"readonly", FIELD_BOOL, offsetof(struct spec_root, is_readonly)},
	{NULL},
};

const struct field spec_id_mapping_fields[] = {
	{"containerID", FIELD_ID, offsetof(struct spec_id_mapping, container_id), .is_required = true},
	{"hostID", FIELD_ID, offsetof(struct spec_id_mapping, host_id), .is_required = true},
	{"size", FIELD_ID, offsetof(struct spec_id_mapping, size), .is_required = true},
	{NULL},
};

static const struct field mount_fields[] = {
	{"destination", FIELD_STRING, offsetof(struct spec_mount, destination), .is_required = true},
	{"type", FIELD_STRING, offsetof(struct spec_mount, type)},
	{"source", FIELD_STRING, offsetof(struct spec_mount, source)},
	{"options", FIELD_STRINGS, offsetof(struct spec_mount, options)},
	{"uidMappings", FIELD_OBJECTS, offsetof(struct spec_mount, uid_mappings), spec_id_mapping_fields, sizeof(struct spec_id_mapping)},
	{"gidMappings", FIELD_OBJECTS, offsetof(struct spec_mount, gid_mappings), spec_id_mapping_fields, sizeof(struct spec_id_mapping)},
	{NULL},
};

static const struct field hook_fields[] = {
	{"path", FIELD_STRING, offsetof(struct spec_hook, path), .is_required = true},
	{"args", FIELD_STRINGS, offsetof(struct spec_hook, args)},
	{"env", FIELD_STRINGS, offsetof(struct spec_hook, env)},
	{"timeout", FIELD_INT, offsetof(struct spec_hook, timeout_s)},
	{NULL},
};

const struct field spec_hooks_fields[] = {
	{"prestart", FIELD_OBJECTS, offsetof(struct spec_hooks, prestart), hook_fields, sizeof(struct spec_hook)},
	{"createRuntime", FIELD_OBJECTS, offsetof(struct spec_hooks, create_runtime), hook_fields, sizeof(struct spec_hook)},
	{"createContainer", FIELD_OBJECTS, offsetof(struct spec_hooks, create_container), hook_fields, sizeof(struct spec_hook)},
	{"startContainer", FIELD_OBJECTS, offsetof(struct spec_hooks, start_container), hook_fields, sizeof(struct spec_hook)},
	{"poststart", FIELD_OBJECTS, offsetof(struct spec_hooks, poststart), hook_fields, sizeof(struct spec_hook)},
	{"poststop", FIELD_OBJECTS, offsetof(struct spec_hooks, poststop), hook_fields, sizeof(struct spec_hook)},
	{NULL},
};

const struct field spec_fields[] = {
	{"ociVersion", FIELD_STRING, offsetof(struct spec, oci_version), .is_required = true},
	{"root", FIELD_OPTIONAL, offsetof(struct spec, root), root_fields, sizeof(struct spec_root)},
	{"process", FIELD_OPTIONAL, offsetof(struct spec, process), spec_process_fields, sizeof(struct spec_process)},
	{"hostname", FIELD_STRING, offsetof(struct spec, hostname)},
	{"domainname", FIELD_STRING, offsetof(struct spec, domainname)},
	{"mounts", FIELD_OBJECTS, offsetof(struct spec, mounts), mount_fields, sizeof(struct spec_mount)},
	{"hooks", FIELD_OBJECT, offsetof(struct spec, hooks), spec_hooks_fields},
	{"annotations", FIELD_MAP, offsetof(struct spec, annotations)},
	{"linux", FIELD_OBJECT, offsetof(struct spec, linux_part), spec_linux_fields},
	{NULL},
};
