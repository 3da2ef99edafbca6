/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a configuration before anything is done to the system, as far as it can be told from the configuration alone.
 */
#include "base/text.h"
#include "runtime/rlimits.h"
#include "runtime/spec.h"

#include <errno.h>
#include <string.h>

#define NANOSECONDS 1000000000U

static const char *const namespace_types[] = {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time", NULL};

static int check_namespaces(const struct spec *self, struct error *err)
{
	for (size_t i = 0; i < self->linux_part.namespaces.count; i++) {
		const struct spec_namespace *entry = &self->linux_part.namespaces.items[i];

		if (!text_is_one_of(entry->type, namespace_types))
			return fail_because(err, EINVAL, "linux.namespaces[%zu].type: unknown namespace '%s'", i,
					    entry->type);
		if (spec_find_namespace(self, entry->type) != entry)
			return fail_because(err, EINVAL, "linux.namespaces[%zu].type: '%s' is there twice", i, entry->type);
		if (entry->path != NULL && entry->path[0] != '\0' && entry->path[0] != '/')
			return fail_because(err, EINVAL, "linux.namespaces[%zu].path: '%s' is not absolute", i, entry->path);
	}
	return 0;
}

static bool is_overlapping(uint32_t first, uint32_t first_size, uint32_t second, uint32_t second_size)
{
	return (uint64_t) first < (uint64_t) second + second_size && (uint64_t) second < (uint64_t) first + first_size;
}

static int check_mappings(const spec_id_mapping_list *list, const char *where, struct error *err)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct spec_id_mapping *item = &list->items[i];

		if (item->size == 0)
			return fail_because(err, EINVAL, "%s[%zu].size: must be more than 0", where, i);
		for (size_t j = 0; j < i; j++)
			if (is_overlapping(item->container_id, item->size, list->items[j].container_id, list->items[j].size) ||
			    is_overlapping(item->host_id, item->size, list->items[j].host_id, list->items[j].size))
				return fail_because(err, EINVAL, "%s[%zu]: overlaps with %s[%zu]", where, i, where, j);
	}
	return 0;
}

static bool has_word(const struct json_strings *words, const char *word)
{
	for (size_t i = 0; i < words->count; i++)
		if (strcmp(words->items[i], word) == 0)
			return true;
	return false;
}

static int check_mount_mappings(const struct spec *self, size_t index, struct error *err)
{
	const struct spec_mount *mount = &self->mounts.items[index];
	bool has_uids = mount->uid_mappings.count > 0, has_gids = mount->gid_mappings.count > 0;
	bool has_own = self->linux_part.uid_mappings.count > 0 && self->linux_part.gid_mappings.count > 0;
	char where[40];

	if (has_uids != has_gids)
		return fail_because(err, EINVAL, "mounts[%zu].%s: missing beside the other", index, has_uids ? "gidMappings" : "uidMappings");
	if (!has_uids && !has_own && (has_word(&mount->options, "idmap") || has_word(&mount->options, "ridmap")))
		return fail_because(err, EINVAL, "mounts[%zu].options: idmap needs uidMappings and gidMappings, or a user namespace", index);
	(void) text_fit(where, sizeof(where), "mounts[%zu].uidMappings", index);
	if (check_mappings(&mount->uid_mappings, where, err) < 0)
		return err->code;
	(void) text_fit(where, sizeof(where), "mounts[%zu].gidMappings", index);
	return check_mappings(&mount->gid_mappings, where, err);
}

static int check_mounts(const struct spec *self, struct error *err)
{
	if (self->mounts.count > 0 && spec_find_namespace(self, "mount") == NULL)
		return fail_because(err, EINVAL, "mounts: need a mount namespace of its own");
	for (size_t i = 0; i < self->mounts.count; i++) {
		const struct spec_mount *mount = &self->mounts.items[i];
		bool has_source = mount->source != NULL && mount->source[0] != '\0';
		bool is_bind = (mount->type != NULL && strcmp(mount->type, "bind") == 0) || has_word(&mount->options, "bind") ||
			       has_word(&mount->options, "rbind");

		if (mount->destination[0] == '\0')
			return fail_because(err, EINVAL, "mounts[%zu].destination: missing", i);
		if (is_bind && !has_source && !has_word(&mount->options, "remount"))
			return fail_because(err, EINVAL, "mounts[%zu].source: missing, it is to be bound", i);
		if (check_mount_mappings(self, i, err) < 0)
			return err->code;
	}
	return 0;
}

static int check_clocks(const struct spec_time_offsets *offsets, struct error *err)
{
	bool is_monotonic = offsets->monotonic.nanoseconds.value >= NANOSECONDS;

	if (!is_monotonic && offsets->boottime.nanoseconds.value < NANOSECONDS)
		return 0;
	return fail_because(err, EINVAL, "linux.timeOffsets.%s.nanosecs: must be less than a second",
			    is_monotonic ? "monotonic" : "boottime");
}

static int check_hook_list(const spec_hook_list *list, const char *name, struct error *err)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct spec_hook *hook = &list->items[i];

		if (hook->path[0] != '/')
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

static int check_devices(const struct spec_linux *part, struct error *err)
{
	for (size_t i = 0; i < part->devices.count; i++) {
		const struct spec_device *device = &part->devices.items[i];
		bool is_pipe = strcmp(device->type, "p") == 0;

		if (device->path[0] != '/')
			return fail_because(err, EINVAL, "linux.devices[%zu].path: '%s' is not an absolute path", i, device->path);
		if (strlen(device->type) != 1 || strchr("cubp", device->type[0]) == NULL)
			return fail_because(err, EINVAL, "linux.devices[%zu].type: '%s' is not c, b, u or p", i, device->type);
		if (!is_pipe && (!device->major.is_set || !device->minor.is_set))
			return fail_because(err, EINVAL, "linux.devices[%zu].%s: missing", i, device->major.is_set ? "minor" : "major");
		if (device->uid.value > UINT32_MAX || device->gid.value > UINT32_MAX)
			return fail_because(err, EINVAL, "linux.devices[%zu].%s: above 4294967295", i,
					    device->uid.value > UINT32_MAX ? "uid" : "gid");
	}
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

	const bool maps_users = part->uid_mappings.count + part->gid_mappings.count > 0;

	if (check_needs_namespace(self, self->hostname != NULL && self->hostname[0] != '\0', "hostname", "uts", err) < 0 ||
	    check_needs_namespace(self, self->domainname != NULL && self->domainname[0] != '\0', "domainname", "uts", err) < 0 ||
	    check_needs_namespace(self, maps_users, part->uid_mappings.count > 0 ? "linux.uidMappings" : "linux.gidMappings", "user", err) < 0 ||
	    check_needs_namespace(self, has_offsets, "linux.timeOffsets", "time", err) < 0 ||
	    check_needs_namespace(self, part->masked_paths.count > 0, "linux.maskedPaths", "mount", err) < 0 ||
	    check_needs_namespace(self, part->readonly_paths.count > 0, "linux.readonlyPaths", "mount", err) < 0)
		return err->code;
	if (is_new_user && (part->uid_mappings.count == 0) != (part->gid_mappings.count == 0))
		return fail_because(err, EINVAL, "linux.uidMappings and linux.gidMappings: a new user namespace needs both or none");
	return 0;
}

int spec_check(const struct spec *self, struct error *err)
{
	if (!text_has_prefix(self->oci_version, "1."))
		return fail_because(err, EINVAL, "ociVersion: '%s' is not supported (1.0.0 to " SPEC_VERSION " are)",
				    self->oci_version);
	if (self->root == NULL || self->root->path[0] == '\0')
		return fail_because(err, EINVAL, "root.path: missing");
	if (check_namespaces(self, err) < 0 || check_mounts(self, err) < 0 || check_hooks(&self->hooks, err) < 0 ||
	    check_devices(&self->linux_part, err) < 0 || check_clocks(&self->linux_part.time_offsets, err) < 0 ||
	    check_mappings(&self->linux_part.uid_mappings, "linux.uidMappings", err) < 0 ||
	    check_mappings(&self->linux_part.gid_mappings, "linux.gidMappings", err) < 0 || check_dependencies(self, err) < 0)
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
