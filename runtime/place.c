/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/place.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup_rootless.h"
#include "runtime/resctrl.h"
#include "runtime/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *absolute(const struct place *self, const char *path)
{
	return path[0] == '/' ? text_copy(path) : text_format("%s/%s", self->bundle, path);
}

static int find_rootfs(struct place *self, const char *path, struct error *err)
{
	auto_free char *wanted = absolute(self, path);

	if (realpath(wanted, self->rootfs) == NULL)
		return fail_errno(err, errno, "find rootfs '%s'", wanted);
	return strcmp(self->rootfs, "/") == 0 ? fail_because(err, EINVAL, "root.path: the host's root cannot be a rootfs") : 0;
}

/* Where its cgroup will be, only systemd knows; the hierarchies are known, and limits can be checked. */
static int find_unit(struct place *self, const char *id, const struct spec *spec, struct error *err)
{
	char path[CGROUP_PATH_SIZE];

	if (systemd_unit_init(&self->unit, spec->linux_part.cgroups_path, id, systemd_is_user(), err) < 0 ||
	    systemd_unit_path(&self->unit, path, err) < 0 || systemd_check_spec(spec, err) < 0 || systemd_check(err) < 0)
		return err->code;
	return cgroup_init(&self->cgroup, path, err);
}

static int choose_cgroup(struct place *self, const struct place_request *request, const struct spec *spec, struct error *err)
{
	const char *wanted = spec->linux_part.cgroups_path;
	int r = standing_is_rootless() ? cgroup_rootless_path(wanted, request->id, &spec->linux_part.resources, self->cgroup_path, err) : 1;

	return r > 0 ? cgroup_path(wanted, request->id, self->cgroup_path, err) : r;
}

int place_find(struct place *self, const struct place_request *request, struct spec *ret_spec, struct error *err)
{
	const char *bundle = request->bundle != NULL ? request->bundle : ".";
	auto_free char *config = NULL;

	if (realpath(bundle, self->bundle) == NULL)
		return fail_errno(err, errno, "find bundle '%s'", bundle);
	config = absolute(self, request->config != NULL ? request->config : "config.json");
	if (spec_load(ret_spec, config, err) < 0)
		return err->code;
	if (ret_spec->process == NULL)
		return fail_because(err, EINVAL, "config.json: process: missing");
	if (find_rootfs(self, ret_spec->root->path, err) < 0)
		return err->code;
	self->cgroup_path[0] = self->unit.name[0] = '\0';
	self->hold = SYSTEMD_HOLD_NONE;
	if (request->uses_systemd)
		return find_unit(self, request->id, ret_spec, err);
	if (request->has_cgroups && choose_cgroup(self, request, ret_spec, err) < 0)
		return err->code;
	return cgroup_init(&self->cgroup, self->cgroup_path, err);
}

static bool has_own_pids(const struct spec *spec)
{
	const struct spec_namespace *namespace = spec_find_namespace(spec, "pid");

	return namespace != NULL && (namespace->path == NULL || namespace->path[0] == '\0');
}

int place_save(const struct place *self, struct spec *spec, struct container *container, struct error *err)
{
	struct arena *arena = &spec->arena;
	auto_free char *group = resctrl_group(spec->linux_part.intel_rdt, container->id);
	auto_free char *folder = resctrl_own_folder(spec->linux_part.intel_rdt, container->id);
	char created[CLOCK_TEXT_SIZE];

	clock_format(clock_realtime_ns(), created);
	container->state = (struct container_state){
		.id = container->id,
		.oci_version = spec->oci_version,
		.bundle = arena_format(arena, "%s", self->bundle),
		.rootfs = arena_format(arena, "%s", self->rootfs),
		.created = arena_format(arena, "%s", created),
		.cgroup_path = arena_format(arena, "%s", self->cgroup_path),
		.systemd_unit = arena_format(arena, "%s", self->unit.name),
		.resctrl_group = arena_format(arena, "%s", group),
		.resctrl_folder = arena_format(arena, "%s", folder),
		.owner = {.is_set = true, .value = geteuid()},
		.has_late_hooks = {.is_set = true, .value = spec->hooks.poststart.count + spec->hooks.poststop.count > 0},
		.has_own_pids = {.is_set = true, .value = has_own_pids(spec)},
		.annotations = spec->annotations,
	};
	if (container_save(container, err) < 0)
		return err->code;
	return file_replace_fast(container->dir_fd, "config.json", spec->source, spec->source_size, 0600, err);
}

int place_start_unit(struct place *self, struct spec *spec, struct container *container, struct error *err)
{
	if (self->unit.name[0] == '\0')
		return 0;
	fault_point("create-unit-wanted");
	if (systemd_start(&self->unit, spec, container->dir, &self->hold, self->cgroup_path, err) < 0) {
		/* a unit of this name is not ours */
		container->state.systemd_unit = "";
		return err->code;
	}
	fault_point("create-unit-started");
	container->state.cgroup_path = arena_format(&spec->arena, "%s", self->cgroup_path);
	if (cgroup_init(&self->cgroup, self->cgroup_path, err) < 0)
		return err->code;
	return container_save(container, err);
}

static int set_tasks(const struct place *self, const char *limit, struct error *err)
{
	const struct cgroup_hierarchy *item = cgroup_find(&self->cgroup, self->cgroup.is_unified ? "" : "pids");
	auto_free char *path = item != NULL ? text_format("%s/pids.max", item->dir) : NULL;

	return path != NULL ? file_set(AT_FDCWD, path, limit, err) : 0;
}

static bool is_for_one(const struct place *self, const struct spec *spec)
{
	const struct spec_resources *resources = &spec->linux_part.resources;
	bool is_one = resources->pids.limit.value == 1;

	for (size_t i = 0; i < resources->unified.count; i++)
		if (strcmp(resources->unified.items[i].key, "pids.max") == 0)
			is_one = strcmp(resources->unified.items[i].value, "1") == 0;
	return self->hold.pid > 0 && is_one;
}

int place_make_room(const struct place *self, const struct spec *spec, struct error *err)
{
	return is_for_one(self, spec) ? set_tasks(self, "2", err) : 0;
}

void place_release_unit(struct place *self, const struct spec *spec)
{
	bool was_for_one = is_for_one(self, spec);
	struct error ignored;

	systemd_release(&self->hold);
	if (was_for_one)
		(void) set_tasks(self, "1", &ignored);
}
