/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra features: what this program can do, whatever the host.
 */
#include "base/owned.h"
#include "runtime/capabilities.h"
#include "runtime/command.h"
#include "runtime/json.h"
#include "runtime/mount_options.h"
#include "runtime/namespaces.h"
#include "runtime/seccomp_filter.h"
#include "runtime/spec.h"

#include <stdio.h>

static const char *const hook_names[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL,
};

static void add_names(struct json_writer *json, const char *key, const char *const *names)
{
	json_writer_key(json, key);
	json_writer_open(json, '[');
	for (; *names != NULL; names++)
		json_writer_string(json, *names);
	json_writer_close(json, ']');
}

static void add_enabled(struct json_writer *json, const char *key, bool is_enabled)
{
	json_writer_key(json, key);
	json_writer_open(json, '{');
	json_writer_member_bool(json, "enabled", is_enabled);
	json_writer_close(json, '}');
}

static void add_mount_options(struct json_writer *json)
{
	json_writer_key(json, "mountOptions");
	json_writer_open(json, '[');
	for (size_t i = 0; mount_options_word(i) != NULL; i++)
		json_writer_string(json, mount_options_word(i));
	json_writer_close(json, ']');
}

static void add_kernel_objects(struct json_writer *json)
{
	json_writer_key(json, "namespaces");
	json_writer_open(json, '[');
	for (int kind = 0; kind < NAMESPACE_COUNT; kind++)
		json_writer_string(json, namespace_name((enum namespace_kind) kind));
	json_writer_close(json, ']');
	json_writer_key(json, "capabilities");
	json_writer_open(json, '[');
	for (unsigned int number = 0; capability_name(number) != NULL; number++)
		json_writer_string(json, capability_name(number));
	json_writer_close(json, ']');
}

static void add_cgroup(struct json_writer *json)
{
	json_writer_key(json, "cgroup");
	json_writer_open(json, '{');
	json_writer_member_bool(json, "v1", true);
	json_writer_member_bool(json, "v2", true);
	json_writer_member_bool(json, "systemd", false);
	json_writer_member_bool(json, "systemdUser", false);
	json_writer_member_bool(json, "rdma", false);
	json_writer_close(json, '}');
}

static void add_seccomp(struct json_writer *json)
{
	json_writer_key(json, "seccomp");
	json_writer_open(json, '{');
	json_writer_member_bool(json, "enabled", true);
	add_names(json, "actions", seccomp_action_names);
	add_names(json, "operators", seccomp_operator_names);
	add_names(json, "archs", seccomp_architecture_names);
	add_names(json, "knownFlags", seccomp_flag_names);
	add_names(json, "supportedFlags", seccomp_flag_names);
	json_writer_close(json, '}');
}

static void add_linux(struct json_writer *json)
{
	json_writer_key(json, "linux");
	json_writer_open(json, '{');
	add_kernel_objects(json);
	add_cgroup(json);
	add_seccomp(json);
	add_enabled(json, "apparmor", true);
	add_enabled(json, "selinux", true);
	add_enabled(json, "intelRdt", false);
	json_writer_key(json, "mountExtensions");
	json_writer_open(json, '{');
	add_enabled(json, "idmap", true);
	json_writer_close(json, '}');
	add_enabled(json, "netDevices", false);
	json_writer_close(json, '}');
}

static int features(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	struct json_writer json = {.is_pretty = true};
	auto_free char *text = NULL;

	(void) globals;
	(void) options;
	(void) rest;
	(void) err;
	json_writer_open(&json, '{');
	json_writer_member_string(&json, "ociVersionMin", "1.0.0");
	json_writer_member_string(&json, "ociVersionMax", SPEC_VERSION);
	add_names(&json, "hooks", hook_names);
	add_mount_options(&json);
	add_linux(&json);
	json_writer_key(&json, "annotations");
	json_writer_open(&json, '{');
	json_writer_member_string(&json, "io.hydra.version", HYDRA_VERSION);
	json_writer_member_string(&json, "org.opencontainers.runc.checkpoint.enabled", "true");
	json_writer_close(&json, '}');
	json_writer_close(&json, '}');
	text = json_writer_finish(&json);
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
