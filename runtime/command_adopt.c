/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra adopt-prepare, hydra adopt: for hydra-shim, when CRIU and not we make a container's processes.
 *
 * `adopt-prepare` makes what must be there before: the folder of the state, and the cgroups with their limits, whose
 * folders it prints. `adopt` records which process became init. In between `delete --force` undoes it.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/members.h"
#include "runtime/resctrl.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct adopt_options {
	const char *bundle;
	int pid;
};

static const struct option_entry prepare_entries[] = {
	{'b', "bundle", "DIR", OPTION_STRING, offsetof(struct adopt_options, bundle), "folder of config.json (.)"},
	{0, NULL},
};
static const struct option_entry adopt_entries[] = {
	{0, "pid", "PID", OPTION_INT, offsetof(struct adopt_options, pid), "the container's init"},
	{0, NULL},
};
static const struct option_table prepare_table = {.entries = prepare_entries};
static const struct option_table adopt_table = {.entries = adopt_entries};

static int make_cgroups(const struct cgroup *cgroup, const struct spec *spec, struct error *err)
{
	auto_close int fd = FD_NONE;

	if (cgroup_make_unified(cgroup, &spec->linux_part.resources, &fd, err) < 0 ||
	    cgroup_make_legacy(cgroup, &spec->linux_part.resources, err) < 0)
		return err->code;
	for (size_t i = 0; i < cgroup->count; i++)
		(void) puts(cgroup->items[i].dir);
	return 0;
}

static int record_it(struct container *container, const struct spec *spec, const char *id, const char *bundle, struct error *err)
{
	const struct spec_intel_rdt *rdt = spec->linux_part.intel_rdt;
	auto_free char *rootfs =
		spec->root->path[0] == '/' ? text_copy(spec->root->path) : text_format("%s/%s", bundle, spec->root->path);
	auto_free char *group = resctrl_group(rdt, id);
	auto_free char *folder = resctrl_own_folder(rdt, id);
	char path[CGROUP_PATH_SIZE], created[CLOCK_TEXT_SIZE];
	struct cgroup cgroup;
	int r = cgroup_path(spec->linux_part.cgroups_path, id, path, err);

	clock_format(clock_realtime_ns(), created);
	container->state = (struct container_state){.id = id, .oci_version = spec->oci_version, .bundle = bundle, .rootfs = rootfs,
						    .created = created, .cgroup_path = path, .resctrl_group = group, .resctrl_folder = folder,
						    .owner = {.is_set = true, .value = 0}, .annotations = spec->annotations};
	if (r == 0)
		r = container_save(container, err);
	if (r == 0)
		r = file_replace_fast(container->dir_fd, "config.json", spec->source, spec->source_size, 0600, err);
	if (r == 0)
		r = resctrl_make(rdt, id, err);
	if (r == 0)
		r = cgroup_init(&cgroup, path, err);
	if (r == 0)
		r = make_cgroups(&cgroup, spec, err);
	/* what it pointed to ends here */
	container->state = (struct container_state){0};
	return r;
}

static int prepare(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct adopt_options *self = options;
	auto_free char *path = NULL;
	char bundle[PATH_MAX];
	struct container container;
	struct spec spec;
	int r;

	if (realpath(self->bundle != NULL ? self->bundle : ".", bundle) == NULL)
		return fail_errno(err, errno, "find bundle '%s'", self->bundle != NULL ? self->bundle : ".");
	path = text_format("%s/config.json", bundle);
	r = spec_load(&spec, path, err);
	if (r < 0)
		return r;
	r = resctrl_check(spec.linux_part.intel_rdt, err);
	if (r == 0)
		r = container_make(&container, globals->root, rest->positional[0], err);
	if (r == 0) {
		r = record_it(&container, &spec, rest->positional[0], bundle, err);
		container_close(&container);
	}
	spec_deinit(&spec);
	return r;
}

/* Twice: what a thread started before its turn came is only found the second time. */
static int join_class(const struct container *container, struct error *err)
{
	for (int round = 0; round < 2; round++) {
		auto_free pid_t *pids = NULL;
		size_t count = 0;

		if (members_list(container, &pids, &count, err) < 0 || resctrl_join(container->state.resctrl_group, pids, count, err) < 0)
			return err->code;
	}
	return 0;
}

static int adopt(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct adopt_options *self = options;
	struct container container;
	int r = container_open(&container, globals->root, rest->positional[0], true, err);

	if (r < 0)
		return r;
	container.state.pid = (struct json_int){.is_set = true, .value = self->pid};
	container.state.start_time.is_set = true;
	container.state.start_time.value = container_process_start_time(self->pid);
	if (container.state.start_time.value == 0)
		r = fail_because(err, ESRCH, "adopt container '%s': there is no process %d", container.id, self->pid);
	if (r == 0 && container.state.resctrl_group != NULL)
		r = join_class(&container, err);
	if (r == 0)
		r = container_save(&container, err);
	container_close(&container);
	return r;
}

const struct command command_adopt_prepare = {
	.name = "adopt-prepare",
	.arguments = "[options] ID",
	.summary = "make state and cgroups for processes that CRIU will restore",
	.options = &prepare_table,
	.options_size = sizeof(struct adopt_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = prepare,
};

const struct command command_adopt = {
	.name = "adopt",
	.arguments = "--pid PID ID",
	.summary = "take a restored process as the container's init",
	.options = &adopt_table,
	.options_size = sizeof(struct adopt_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = adopt,
};
