/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra features: what this program can do, whatever the host.
 */
#include "base/owned.h"
#include "runtime/capabilities.h"
#include "runtime/command.h"
#include "runtime/json.h"
#include "runtime/memory_policy.h"
#include "runtime/mount_options.h"
#include "runtime/namespaces.h"
#include "runtime/seccomp_filter.h"
#include "runtime/spec.h"

#include <stdio.h>

static const char *const hook_names[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL,
};

/* A dot at the end: all that begin so. */
static const char *const unsafe_annotations[] = {"org.systemd.property.", "run.oci.keep_original_groups", "run.oci.pidfd_receiver", NULL};

static void add_names(struct json_object *to, const char *key, const char *const *names)
{
	struct json_object *array = json_add_array(to, key);

	for (; *names != NULL; names++)
		json_add_string(array, NULL, *names);
}

static void add_enabled(struct json_object *to, const char *key, bool is_enabled)
{
	json_add_bool(json_add_object(to, key), "enabled", is_enabled);
}

static void add_mount_options(struct json_object *to)
{
	struct json_object *array = json_add_array(to, "mountOptions");

	for (size_t i = 0; mount_options_word(i) != NULL; i++)
		json_add_string(array, NULL, mount_options_word(i));
}

static void add_kernel_objects(struct json_object *to)
{
	struct json_object *namespaces = json_add_array(to, "namespaces");
	struct json_object *capabilities = json_add_array(to, "capabilities");

	for (int kind = 0; kind < NAMESPACE_COUNT; kind++)
		json_add_string(namespaces, NULL, namespace_name((enum namespace_kind) kind));
	for (unsigned int number = 0; capability_name(number) != NULL; number++)
		json_add_string(capabilities, NULL, capability_name(number));
}

static void add_cgroup(struct json_object *to)
{
	struct json_object *cgroup = json_add_object(to, "cgroup");

	json_add_bool(cgroup, "v1", true);
	json_add_bool(cgroup, "v2", true);
	json_add_bool(cgroup, "systemd", true);
	json_add_bool(cgroup, "systemdUser", true);
	json_add_bool(cgroup, "rdma", true);
}

static void add_seccomp(struct json_object *to)
{
	struct json_object *seccomp = json_add_object(to, "seccomp");

	json_add_bool(seccomp, "enabled", true);
	add_names(seccomp, "actions", seccomp_action_names);
	add_names(seccomp, "operators", seccomp_operator_names);
	add_names(seccomp, "archs", seccomp_architecture_names);
	add_names(seccomp, "knownFlags", seccomp_flag_names);
	add_names(seccomp, "supportedFlags", seccomp_flag_names);
}

static void add_memory_policy(struct json_object *to)
{
	struct json_object *policy = json_add_object(to, "memoryPolicy");

	add_names(policy, "modes", memory_policy_modes);
	add_names(policy, "flags", memory_policy_flags);
}

static void add_resctrl(struct json_object *to)
{
	struct json_object *part = json_add_object(to, "intelRdt");

	json_add_bool(part, "enabled", true);
	json_add_bool(part, "schemata", true);
	json_add_bool(part, "monitoring", true);
}

static void add_linux(struct json_object *to)
{
	struct json_object *part = json_add_object(to, "linux");

	add_kernel_objects(part);
	add_cgroup(part);
	add_seccomp(part);
	add_enabled(part, "apparmor", true);
	add_enabled(part, "selinux", true);
	add_resctrl(part);
	add_enabled(json_add_object(part, "mountExtensions"), "idmap", true);
	add_memory_policy(part);
	add_enabled(part, "netDevices", true);
}

static int features(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	auto_json *json = json_object_new_object();
	auto_free char *text = NULL;
	struct json_object *annotations;

	(void) globals;
	(void) options;
	(void) rest;
	(void) err;
	json_add_string(json, "ociVersionMin", "1.0.0");
	json_add_string(json, "ociVersionMax", SPEC_VERSION);
	add_names(json, "hooks", hook_names);
	add_mount_options(json);
	add_linux(json);
	annotations = json_add_object(json, "annotations");
	json_add_string(annotations, "io.hydra.version", HYDRA_VERSION);
	json_add_string(annotations, "org.opencontainers.runc.checkpoint.enabled", "true");
	add_names(json, "potentiallyUnsafeConfigAnnotations", unsafe_annotations);
	text = json_text(json, true);
	(void) puts(text);
	return 0;
}

const struct command command_features = {
	.name = "features",
	.arguments = "",
	.summary = "print what this program supports, as JSON",
	.options = &command_no_options,
	.positional_max = 0,
	.failure_status = 1,
	.run = features,
};
