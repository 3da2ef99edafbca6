/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/place.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup_rootless.h"
#include "runtime/standing.h"

#include <errno.h>
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
	self->cgroup_path[0] = '\0';
	if (request->has_cgroups && choose_cgroup(self, request, ret_spec, err) < 0)
		return err->code;
	return cgroup_init(&self->cgroup, self->cgroup_path, err);
}

int place_save(const struct place *self, struct spec *spec, struct container *container, struct error *err)
{
	struct arena *arena = &spec->arena;
	char created[CLOCK_TEXT_SIZE];

	clock_format(clock_realtime_ns(), created);
	container->state = (struct container_state){
		.id = container->id,
		.oci_version = spec->oci_version,
		.bundle = arena_format(arena, "%s", self->bundle),
		.rootfs = arena_format(arena, "%s", self->rootfs),
		.created = arena_format(arena, "%s", created),
		.cgroup_path = arena_format(arena, "%s", self->cgroup_path),
		.owner = {.is_set = true, .value = geteuid()},
		.annotations = spec->annotations,
	};
	if (container_save(container, err) < 0)
		return err->code;
	return file_replace_fast(container->dir_fd, "config.json", spec->source, spec->source_size, 0600, err);
}
