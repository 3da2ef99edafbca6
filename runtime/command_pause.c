/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra pause, hydra resume.
 */
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"

#include <errno.h>

static int freeze(const struct global_options *globals, const char *id, bool is_frozen, struct error *err)
{
	struct container container;
	enum container_status status;
	struct cgroup cgroup;
	int r;

	if (container_open(&container, globals->root, id, true, err) < 0)
		return err->code;
	status = container_status(&container);
	if (is_frozen ? status != CONTAINER_RUNNING && status != CONTAINER_CREATED : status != CONTAINER_PAUSED)
		r = fail_because(err, EINVAL, "cannot %s a container that is %s: container not %s",
				 is_frozen ? "pause" : "resume", container_status_name(status), is_frozen ? "running" : "paused");
	else
		r = cgroup_init(&cgroup, container.state.cgroup_path, err);
	if (r == 0)
		r = cgroup_freeze(&cgroup, is_frozen, err);
	container_close(&container);
	return r;
}

static int run_pause(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	(void) options;
	return freeze(globals, rest->positional[0], true, err);
}

static int run_resume(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	(void) options;
	return freeze(globals, rest->positional[0], false, err);
}

const struct command command_pause = {
	.name = "pause",
	.arguments = "ID",
	.summary = "freeze all processes of a container",
	.options = &command_no_options,
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = run_pause,
};

const struct command command_resume = {
	.name = "resume",
	.arguments = "ID",
	.summary = "let a paused container go on",
	.options = &command_no_options,
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = run_resume,
};
