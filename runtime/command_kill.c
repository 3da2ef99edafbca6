/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra kill, hydra delete.
 */
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/launch.h"
#include "runtime/members.h"
#include "runtime/signals.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <string.h>

#define DEATH_PATIENCE_MS 10000

struct kill_options {
	bool is_for_all;
	bool is_regex;
	bool is_forced;
};

static const struct option_entry kill_entries[] = {
	{'a', "all", NULL, OPTION_FLAG, offsetof(struct kill_options, is_for_all), "every process of the container"},
	{'r', "regex", NULL, OPTION_FLAG, offsetof(struct kill_options, is_regex), "ID is a regular expression"},
	{0, NULL},
};
static const struct option_table kill_table = {.entries = kill_entries, .stops_at_positional = true};

static const struct option_entry delete_entries[] = {
	{'f', "force", NULL, OPTION_FLAG, offsetof(struct kill_options, is_forced), "kill it first; missing is fine"},
	{'r', "regex", NULL, OPTION_FLAG, offsetof(struct kill_options, is_regex), "ID is a regular expression"},
	{0, NULL},
};
static const struct option_table delete_table = {.entries = delete_entries};

typedef int for_one(const struct global_options *globals, const struct kill_options *options, const char *id,
		    int signal_number, struct error *err);

static int for_matching(const struct global_options *globals, const struct kill_options *options, const char *pattern,
			int signal_number, for_one *act, struct error *err)
{
	struct dirent **entries = NULL;
	regex_t expression;
	int count, r = 0;

	if (regcomp(&expression, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return fail_because(err, EINVAL, "'%s' is not a regular expression", pattern);
	count = scandir(globals->root, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		const char *id = entries[i]->d_name;

		if (r == 0 && container_id_is_valid(id) && regexec(&expression, id, 0, NULL, 0) == 0)
			r = act(globals, options, id, signal_number, err);
		free(entries[i]);
	}
	free(entries);
	regfree(&expression);
	return r;
}

static int signal_init(const struct container *container, int signal_number, struct error *err)
{
	auto_close int pidfd = kernel_pidfd_open((pid_t) container->state.pid.value, 0);

	/* the pidfd is open: from here on the number cannot be reused unnoticed */
	if (pidfd < 0 || !container_is_alive(container) || kernel_pidfd_send_signal(pidfd, signal_number) < 0)
		return pidfd >= 0 && errno != ESRCH && errno != 0 && container_is_alive(container)
			       ? fail_errno(err, errno, "signal container '%s'", container->id)
			       : fail_because(err, ESRCH, "container not running");
	return 0;
}

/* With a pid namespace of its own, all others die with init. */
static bool dies_with_init(const struct container *container)
{
	const struct spec_namespace *namespace;
	struct error ignored;
	struct spec spec;
	bool is_own;

	if (container->state.has_own_pids.is_set)
		return container->state.has_own_pids.value != 0;
	if (container_load_spec(container, &spec, &ignored) < 0)
		return true;
	namespace = spec_find_namespace(&spec, "pid");
	is_own = namespace != NULL && (namespace->path == NULL || namespace->path[0] == '\0');
	spec_deinit(&spec);
	return is_own;
}

static int kill_members(const struct container *container, struct error *err)
{
	auto_free pid_t *pids = NULL;
	size_t count = 0;

	if (members_list(container, &pids, &count, err) < 0)
		return err->code;
	return count > 0 ? members_signal(container, SIGKILL, err) : fail_because(err, ESRCH, "container not running");
}

static int kill_one(const struct global_options *globals, const struct kill_options *options, const char *id,
		    int signal_number, struct error *err)
{
	struct container container;
	int r;

	if (container_open(&container, globals->root, id, false, err) < 0)
		return err->code;
	if (options->is_for_all)
		r = members_signal(&container, signal_number, err);
	else if (signal_number == SIGKILL && !dies_with_init(&container))
		r = kill_members(&container, err);
	else
		r = signal_init(&container, signal_number, err);
	container_close(&container);
	return r;
}

static int run_kill(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct kill_options *self = options;
	int signal_number = SIGTERM;

	if (rest->count > 1 && signal_parse(rest->positional[1], &signal_number) < 0)
		return fail_because(err, EINVAL, "unknown signal '%s'", rest->positional[1]);
	if (self->is_regex)
		return for_matching(globals, self, rest->positional[0], signal_number, kill_one, err);
	return kill_one(globals, self, rest->positional[0], signal_number, err);
}

/* A thawed init that is killed takes its pid namespace along; wait so that nothing of it is left when we return. */
static int kill_init(const struct container *container, struct error *err)
{
	auto_close int pidfd = FD_NONE;
	struct pollfd event = {.events = POLLIN};
	int r;

	if (!container_is_alive(container))
		return 0;
	pidfd = kernel_pidfd_open((pid_t) container->state.pid.value, 0);
	if (pidfd < 0 || !container_is_alive(container))
		return 0;
	(void) kernel_pidfd_send_signal(pidfd, SIGKILL);
	event.fd = pidfd;
	do
		r = poll(&event, 1, DEATH_PATIENCE_MS);
	while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : fail_because(err, EBUSY, "container '%s' does not die", container->id);
}

static void thaw(const struct container *container)
{
	struct error ignored;
	struct cgroup cgroup;

	if (container->state.cgroup_path != NULL && cgroup_init(&cgroup, container->state.cgroup_path, &ignored) == 0 &&
	    cgroup_is_frozen(&cgroup)) {
		/* killed first, so that it does not run a single instruction once it is thawed */
		(void) cgroup_signal(&cgroup, SIGKILL, &ignored);
		(void) cgroup_freeze(&cgroup, false, &ignored);
	}
}

static int destroy(const struct global_options *globals, struct container *container, struct error *err)
{
	struct error ignored;
	struct spec spec;
	bool has_spec;
	int r;

	(void) globals;
	thaw(container);
	if (kill_init(container, err) < 0)
		return err->code;
	has_spec = container_may_have_late_hooks(container) && container_load_spec(container, &spec, &ignored) == 0;
	r = launch_destroy(container, has_spec ? &spec.hooks.poststop : NULL, err);
	if (has_spec)
		spec_deinit(&spec);
	return r;
}

static int delete_one(const struct global_options *globals, const struct kill_options *options, const char *id,
		      int signal_number, struct error *err)
{
	struct container container;
	enum container_status status;
	int r = options->is_forced ? container_open_remains(&container, globals->root, id, err)
				   : container_open(&container, globals->root, id, true, err);

	(void) signal_number;
	if (r == -ENOENT && options->is_forced)
		return 0;
	if (r < 0)
		return r;
	status = container_status(&container);
	if (!options->is_forced && (status == CONTAINER_RUNNING || status == CONTAINER_PAUSED))
		r = fail_because(err, EBUSY, "cannot delete container '%s' that is not stopped: %s", id,
				 container_status_name(status));
	else
		r = destroy(globals, &container, err);
	container_close(&container);
	return r;
}

static int run_delete(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct kill_options *self = options;

	if (self->is_regex)
		return for_matching(globals, self, rest->positional[0], 0, delete_one, err);
	return delete_one(globals, self, rest->positional[0], 0, err);
}

const struct command command_kill = {
	.name = "kill",
	.arguments = "[options] ID [SIGNAL]",
	.summary = "send a signal to a container's init (TERM)",
	.options = &kill_table,
	.options_size = sizeof(struct kill_options),
	.positional_min = 1,
	.positional_max = 2,
	.failure_status = 1,
	.run = run_kill,
};

const struct command command_delete = {
	.name = "delete",
	.arguments = "[options] ID",
	.summary = "remove what is left of a container",
	.options = &delete_table,
	.options_size = sizeof(struct kill_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = run_delete,
};
