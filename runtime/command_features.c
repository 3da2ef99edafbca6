/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra features: what this program can do, whatever the host.
 */
#include "runtime/capabilities.h"
#include "runtime/command.h"
#include "runtime/mount_options.h"
#include "runtime/namespaces.h"
#include "runtime/seccomp_filter.h"
#include "runtime/spec.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const hook_names[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL,
};

struct document {
	yyjson_mut_doc *json;
};

static void add_names(struct document *self, yyjson_mut_val *object, const char *key, const char *const *names)
{
	yyjson_mut_val *array = yyjson_mut_obj_add_arr(self->json, object, key);

	for (; *names != NULL; names++)
		yyjson_mut_arr_add_str(self->json, array, *names);
}

static void add_enabled(struct document *self, yyjson_mut_val *object, const char *key, bool is_enabled)
{
	yyjson_mut_obj_add_bool(self->json, yyjson_mut_obj_add_obj(self->json, object, key), "enabled", is_enabled);
}

static void add_mount_options(struct document *self, yyjson_mut_val *object)
{
	yyjson_mut_val *array = yyjson_mut_obj_add_arr(self->json, object, "mountOptions");

	for (size_t i = 0; mount_options_word(i) != NULL; i++)
		yyjson_mut_arr_add_str(self->json, array, mount_options_word(i));
}

static void add_kernel_objects(struct document *self, yyjson_mut_val *part)
{
	yyjson_mut_val *namespaces = yyjson_mut_obj_add_arr(self->json, part, "namespaces");
	yyjson_mut_val *capabilities = yyjson_mut_obj_add_arr(self->json, part, "capabilities");
	yyjson_mut_val *cgroup = yyjson_mut_obj_add_obj(self->json, part, "cgroup");

	for (int kind = 0; kind < NAMESPACE_COUNT; kind++)
		yyjson_mut_arr_add_str(self->json, namespaces, namespace_name((enum namespace_kind) kind));
	for (unsigned int number = 0; capability_name(number) != NULL; number++)
		yyjson_mut_arr_add_str(self->json, capabilities, capability_name(number));
	yyjson_mut_obj_add_bool(self->json, cgroup, "v1", true);
	yyjson_mut_obj_add_bool(self->json, cgroup, "v2", true);
	yyjson_mut_obj_add_bool(self->json, cgroup, "systemd", false);
	yyjson_mut_obj_add_bool(self->json, cgroup, "systemdUser", false);
	yyjson_mut_obj_add_bool(self->json, cgroup, "rdma", false);
}

static void add_seccomp(struct document *self, yyjson_mut_val *part)
{
	yyjson_mut_val *seccomp = yyjson_mut_obj_add_obj(self->json, part, "seccomp");

	yyjson_mut_obj_add_bool(self->json, seccomp, "enabled", true);
	add_names(self, seccomp, "actions", seccomp_action_names);
	add_names(self, seccomp, "operators", seccomp_operator_names);
	add_names(self, seccomp, "archs", seccomp_architecture_names);
	add_names(self, seccomp, "knownFlags", seccomp_flag_names);
	add_names(self, seccomp, "supportedFlags", seccomp_flag_names);
}

static void add_linux(struct document *self, yyjson_mut_val *root)
{
	yyjson_mut_val *part = yyjson_mut_obj_add_obj(self->json, root, "linux");
	yyjson_mut_val *extensions;

	add_kernel_objects(self, part);
	add_seccomp(self, part);
	add_enabled(self, part, "apparmor", true);
	add_enabled(self, part, "selinux", true);
	add_enabled(self, part, "intelRdt", false);
	extensions = yyjson_mut_obj_add_obj(self->json, part, "mountExtensions");
	add_enabled(self, extensions, "idmap", true);
	add_enabled(self, part, "netDevices", false);
}

static int features(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	struct document self = {.json = yyjson_mut_doc_new(NULL)};
	yyjson_mut_val *root = yyjson_mut_obj(self.json);
	yyjson_mut_val *annotations;
	char *text;

	(void) globals;
	(void) options;
	(void) rest;
	(void) err;
	yyjson_mut_doc_set_root(self.json, root);
	yyjson_mut_obj_add_str(self.json, root, "ociVersionMin", "1.0.0");
	yyjson_mut_obj_add_str(self.json, root, "ociVersionMax", SPEC_VERSION);
	add_names(&self, root, "hooks", hook_names);
	add_mount_options(&self, root);
	add_linux(&self, root);
	annotations = yyjson_mut_obj_add_obj(self.json, root, "annotations");
	yyjson_mut_obj_add_str(self.json, annotations, "io.hydra.version", HYDRA_VERSION);
	yyjson_mut_obj_add_str(self.json, annotations, "org.opencontainers.runc.checkpoint.enabled", "true");
	text = yyjson_mut_write(self.json, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL);
	(void) puts(text != NULL ? text : "{}");
	free(text);
	yyjson_mut_doc_free(self.json);
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
