/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a config.json to struct spec: syntax (json.c), types (the tables), then what must hold before
 * anything is done to the system. Pure: no system calls but reading the file.
 */
#include "runtime/spec.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/json.h"
#include "runtime/rlimits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const char *const namespace_types[] = {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time", NULL};

static int check_namespaces(const struct spec *self, struct error *err)
{
	for (size_t i = 0; i < self->linux_part.namespaces.count; i++) {
		const struct spec_namespace *entry = &self->linux_part.namespaces.items[i];

		if (entry->type == NULL || !text_is_one_of(entry->type, namespace_types))
			return fail_because(err, EINVAL, "linux.namespaces[%zu].type: unknown namespace '%s'", i,
					    entry->type != NULL ? entry->type : "");
		if (spec_find_namespace(self, entry->type) != entry)
			return fail_because(err, EINVAL, "linux.namespaces[%zu].type: '%s' is there twice", i, entry->type);
		if (entry->path != NULL && entry->path[0] != '\0' && entry->path[0] != '/')
			return fail_because(err, EINVAL, "linux.namespaces[%zu].path: '%s' is not absolute", i, entry->path);
	}
	return 0;
}

static int check_mounts(const struct spec *self, struct error *err)
{
	for (size_t i = 0; i < self->mounts.count; i++)
		if (self->mounts.items[i].destination == NULL || self->mounts.items[i].destination[0] == '\0')
			return fail_because(err, EINVAL, "mounts[%zu].destination: missing", i);
	return 0;
}

static int check_hook_list(const spec_hook_list *list, const char *name, struct error *err)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct spec_hook *hook = &list->items[i];

		if (hook->path == NULL || hook->path[0] != '/')
			return fail_because(err, EINVAL, "hooks.%s[%zu].path: must be an absolute path", name, i);
		if (hook->timeout_s.is_set && hook->timeout_s.value <= 0)
			return fail_because(err, EINVAL, "hooks.%s[%zu].timeout: must be more than 0", name, i);
	}
	return 0;
}

static int check_hooks(const struct spec_hooks *hooks, struct error *err)
{
	const struct {
		const spec_hook_list *list;
		const char *name;
	} kinds[] = {
		{&hooks->prestart, "prestart"},
		{&hooks->create_runtime, "createRuntime"},
		{&hooks->create_container, "createContainer"},
		{&hooks->start_container, "startContainer"},
		{&hooks->poststart, "poststart"},
		{&hooks->poststop, "poststop"},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (check_hook_list(kinds[i].list, kinds[i].name, err) < 0)
			return err->code;
	return 0;
}

/* What we know of but cannot do is refused, never ignored. */
static int check_supported(const struct spec_linux *part, struct error *err)
{
	if (part->has_intel_rdt)
		return fail_because(err, ENOTSUP, "linux.intelRdt: not supported");
	if (part->has_memory_policy)
		return fail_because(err, ENOTSUP, "linux.memoryPolicy: not supported");
	if (part->has_net_devices)
		return fail_because(err, ENOTSUP, "linux.netDevices: not supported");
	if (part->resources.has_rdma)
		return fail_because(err, ENOTSUP, "linux.resources.rdma: not supported");
	if (part->resources.network.class_id.value != 0 || part->resources.network.has_priorities)
		return fail_because(err, ENOTSUP, "linux.resources.network: not supported");
	return 0;
}

static int check_needs_namespace(const struct spec *self, bool is_used, const char *field, const char *type,
				 struct error *err)
{
	if (is_used && spec_find_namespace(self, type) == NULL)
		return fail_because(err, EINVAL, "%s: needs a %s namespace of its own", field, type);
	return 0;
}

static int check_dependencies(const struct spec *self, struct error *err)
{
	const struct spec_linux *part = &self->linux_part;
	bool has_offsets = part->time_offsets.monotonic.seconds.is_set || part->time_offsets.monotonic.nanoseconds.is_set ||
			   part->time_offsets.boottime.seconds.is_set || part->time_offsets.boottime.nanoseconds.is_set;
	const struct spec_namespace *user = spec_find_namespace(self, "user");
	bool is_new_user = user != NULL && (user->path == NULL || user->path[0] == '\0');

	if (check_needs_namespace(self, self->hostname != NULL && self->hostname[0] != '\0', "hostname", "uts", err) < 0 ||
	    check_needs_namespace(self, self->domainname != NULL && self->domainname[0] != '\0', "domainname", "uts", err) < 0 ||
	    check_needs_namespace(self, part->uid_mappings.count > 0, "linux.uidMappings", "user", err) < 0 ||
	    check_needs_namespace(self, has_offsets, "linux.timeOffsets", "time", err) < 0 ||
	    check_needs_namespace(self, part->masked_paths.count > 0, "linux.maskedPaths", "mount", err) < 0 ||
	    check_needs_namespace(self, part->readonly_paths.count > 0, "linux.readonlyPaths", "mount", err) < 0)
		return err->code;
	if (is_new_user && (part->uid_mappings.count == 0 || part->gid_mappings.count == 0))
		return fail_because(err, EINVAL, "linux.uidMappings and linux.gidMappings: needed by a new user namespace");
	return 0;
}

static int check(const struct spec *self, struct error *err)
{
	if (self->oci_version == NULL)
		return fail_because(err, EINVAL, "ociVersion: missing");
	if (!text_has_prefix(self->oci_version, "1."))
		return fail_because(err, EINVAL, "ociVersion: '%s' is not supported (1.0.0 to " SPEC_VERSION " are)",
				    self->oci_version);
	if (self->root == NULL || self->root->path == NULL || self->root->path[0] == '\0')
		return fail_because(err, EINVAL, "root.path: missing");
	if (check_namespaces(self, err) < 0 || check_mounts(self, err) < 0 || check_hooks(&self->hooks, err) < 0 ||
	    check_supported(&self->linux_part, err) < 0 || check_dependencies(self, err) < 0)
		return err->code;
	return self->process != NULL ? spec_process_check(self->process, err) : 0;
}

int spec_process_check(const struct spec_process *process, struct error *err)
{
	if (process->args.count == 0)
		return fail_because(err, EINVAL, "process.args: must not be empty");
	if (process->cwd == NULL || process->cwd[0] != '/')
		return fail_because(err, EINVAL, "process.cwd: '%s' is not an absolute path",
				    process->cwd != NULL ? process->cwd : "");
	for (size_t i = 0; i < process->env.count; i++)
		if (strchr(process->env.items[i], '=') == NULL)
			return fail_because(err, EINVAL, "process.env[%zu]: '%s' has no '='", i, process->env.items[i]);
	if (process->user.umask.is_set && process->user.umask.value > 0777)
		return fail_because(err, EINVAL, "process.user.umask: more than 0777");
	if (process->oom_score_adjust.is_set &&
	    (process->oom_score_adjust.value < -1000 || process->oom_score_adjust.value > 1000))
		return fail_because(err, EINVAL, "process.oomScoreAdj: must be from -1000 to 1000");
	if (rlimits_check(process, err) < 0)
		return err->code;
	return 0;
}

int spec_parse(struct spec *self, const char *data, size_t size, const char *name, struct error *err)
{
	auto_json *document = NULL;

	*self = (struct spec){.arena = ARENA_EMPTY};
	if (json_parse(data, size, name, &document, err) < 0)
		return err->code;
	if (json_fields_read(spec_fields, document, "", &self->arena, self, err) < 0 || check(self, err) < 0) {
		spec_deinit(self);
		return fail_while(err, "%s", name);
	}
	return 0;
}

int spec_load(struct spec *self, const char *path, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;

	if (file_read(AT_FDCWD, path, JSON_SIZE_MAX, &data, &size, err) < 0)
		return err->code;
	if (spec_parse(self, data, size, "config.json", err) < 0)
		return err->code;
	self->source = take_ptr(&data);
	self->source_size = size;
	return 0;
}

void spec_deinit(struct spec *self)
{
	arena_deinit(&self->arena);
	free(self->source);
	*self = (struct spec){.arena = ARENA_EMPTY};
}

int spec_part_parse(struct spec_part *self, const struct field *fields, const char *data, size_t size, const char *name,
		    void *target, struct error *err)
{
	auto_json *document = NULL;

	*self = (struct spec_part){.arena = ARENA_EMPTY};
	if (json_parse(data, size, name, &document, err) < 0 ||
	    json_fields_read(fields, document, name, &self->arena, target, err) < 0) {
		spec_part_deinit(self);
		return err->code;
	}
	return 0;
}

void spec_part_deinit(struct spec_part *self)
{
	arena_deinit(&self->arena);
	*self = (struct spec_part){.arena = ARENA_EMPTY};
}

const struct spec_namespace *spec_find_namespace(const struct spec *self, const char *type)
{
	for (size_t i = 0; i < self->linux_part.namespaces.count; i++) {
		const struct spec_namespace *entry = &self->linux_part.namespaces.items[i];

		if (entry->type != NULL && strcmp(entry->type, type) == 0)
			return entry;
	}
	return NULL;
}

const char *spec_annotation(const struct spec *self, const char *key)
{
	for (size_t i = 0; i < self->annotations.count; i++)
		if (strcmp(self->annotations.items[i].key, key) == 0)
			return self->annotations.items[i].value;
	return NULL;
}
