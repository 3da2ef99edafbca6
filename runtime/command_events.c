/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra events: statistics of the container's cgroups, once or again and again, and out-of-memory kills.
 */
#include "base/clock.h"
#include "base/kernel.h"
#include "base/number.h"
#include "base/owned.h"
#include "runtime/cgroup.h"
#include "runtime/cgroup_stats.h"
#include "runtime/command.h"
#include "runtime/container.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

struct events_options {
	const char *interval;
	bool is_once;
};

static const struct option_entry entries[] = {
	{0, "interval", "DURATION", OPTION_STRING, offsetof(struct events_options, interval), "between two statistics (5s)"},
	{0, "stats", NULL, OPTION_FLAG, offsetof(struct events_options, is_once), "only once"},
	{0, NULL},
};
static const struct option_table table = {.entries = entries};

static void print_stats(const struct container *container, const struct cgroup *cgroup)
{
	auto_free char *json = cgroup_stats_json(cgroup, container->id);

	(void) puts(json);
	(void) fflush(stdout);
}

static void print_oom(const struct container *container)
{
	(void) printf("{\"type\":\"oom\",\"id\":\"%s\"}\n", container->id);
	(void) fflush(stdout);
}

static int watch(const struct container *container, const struct cgroup *cgroup, uint64_t interval_ns, struct error *err)
{
	auto_close int pidfd = kernel_pidfd_open((pid_t) container->state.pid.value, 0);
	struct pollfd event = {.fd = pidfd, .events = POLLIN};
	uint64_t kills = cgroup_oom_kills(cgroup);
	int r = 0;

	if (pidfd < 0)
		return fail_because(err, ESRCH, "container not running");
	while (r == 0) {
		uint64_t now_kills;

		r = poll(&event, 1, (int) (interval_ns / NS_PER_MS));
		now_kills = cgroup_oom_kills(cgroup);
		if (now_kills > kills)
			print_oom(container);
		kills = now_kills;
		if (r < 0 && errno != EINTR)
			return fail_errno(err, errno, "wait");
		if (r == 0)
			print_stats(container, cgroup);
	}
	return 0;
}

static int events(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct events_options *self = options;
	uint64_t interval_ns = 5 * NS_PER_S;
	struct container container;
	struct cgroup cgroup;
	int r;

	if (self->interval != NULL &&
	    (number_parse_duration(self->interval, &interval_ns) < 0 || interval_ns < NS_PER_MS || interval_ns > 86400 * NS_PER_S))
		return fail_because(err, EINVAL, "option --interval: '%s' is not a duration of at least 1ms", self->interval);
	if (container_open(&container, globals->root, rest->positional[0], false, err) < 0)
		return err->code;
	if (!container_is_alive(&container))
		r = fail_because(err, ESRCH, "container with id %s is not running: container not running", container.id);
	else if (container.state.cgroup_path == NULL || container.state.cgroup_path[0] == '\0')
		r = fail_because(err, ENOENT, "the container has no cgroup of its own, which statistics would come from");
	else
		r = cgroup_init(&cgroup, container.state.cgroup_path, err);
	if (r == 0 && self->is_once)
		print_stats(&container, &cgroup);
	else if (r == 0)
		r = watch(&container, &cgroup, interval_ns, err);
	container_close(&container);
	return r;
}

const struct command command_events = {
	.name = "events",
	.arguments = "[options] ID",
	.summary = "print statistics and out-of-memory events",
	.options = &table,
	.options_size = sizeof(struct events_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = events,
};
