/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra exec: the process comes from a file, or from the container's own with changes.
 */
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/exec.h"
#include "runtime/foreground.h"
#include "runtime/json.h"
#include "runtime/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

struct exec_command {
	struct exec_options exec;
	const char *cwd;
	const char *user;
	const char *process_file;
	const char *process_label;
	const char *apparmor;
	struct string_list env;
	struct string_list groups;
	struct string_list capabilities;
	struct string_list cgroups;
	bool has_terminal;
	bool no_new_privileges;
	bool ignores_pause;
	char *process_text; /* of process_file */
	size_t process_size;
	const char **cgroup_list; /* ends with NULL; exec.cgroups is the same */
};

#define EXEC_MEMBER(member) offsetof(struct exec_command, member)

static const struct option_entry entries[] = {
	{0, "console-socket", "PATH", OPTION_STRING, EXEC_MEMBER(exec.console_socket), "socket that gets the terminal"},
	{0, "pidfd-socket", "PATH", OPTION_STRING, EXEC_MEMBER(exec.pidfd_socket), "socket that gets a pidfd of the process"},
	{0, "cwd", "DIR", OPTION_STRING, EXEC_MEMBER(cwd), "working directory"},
	{'e', "env", "NAME=VALUE", OPTION_LIST, EXEC_MEMBER(env), "one more environment variable"},
	{'t', "tty", NULL, OPTION_FLAG, EXEC_MEMBER(has_terminal), "give it a terminal"},
	{'u', "user", "UID[:GID]", OPTION_STRING, EXEC_MEMBER(user), "run as this user"},
	{'g', "additional-gids", "GID", OPTION_LIST, EXEC_MEMBER(groups), "one more group"},
	{'p', "process", "FILE", OPTION_STRING, EXEC_MEMBER(process_file), "JSON of the process"},
	{'d', "detach", NULL, OPTION_FLAG, EXEC_MEMBER(exec.is_detached), "do not wait for the process"},
	{0, "pid-file", "FILE", OPTION_STRING, EXEC_MEMBER(exec.pid_file), "file that gets the pid of the process"},
	{0, "exec-wait-fifo", "FIFO", OPTION_STRING, EXEC_MEMBER(exec.wait_fifo), "wait until this is opened for reading"},
	{0, "process-label", "LABEL", OPTION_STRING, EXEC_MEMBER(process_label), "SELinux label"},
	{0, "apparmor", "PROFILE", OPTION_STRING, EXEC_MEMBER(apparmor), "AppArmor profile"},
	{0, "no-new-privs", NULL, OPTION_FLAG, EXEC_MEMBER(no_new_privileges), "set no_new_privs"},
	{'c', "cap", "CAP", OPTION_LIST, EXEC_MEMBER(capabilities), "one more capability"},
	{0, "preserve-fds", "N", OPTION_INT, EXEC_MEMBER(exec.preserved_fds), "leave N descriptors from 3 on open"},
	{0, "cgroup", "[CTRL:]PATH", OPTION_LIST, EXEC_MEMBER(cgroups), "cgroup below the container's"},
	{0, "ignore-paused", NULL, OPTION_FLAG, EXEC_MEMBER(ignores_pause), "also in a paused container"},
	{0, NULL},
};
static const struct option_table table = {.entries = entries, .stops_at_positional = true};

static int parse_id(const char *text, uint32_t *ret_id, struct error *err)
{
	uint64_t value;

	if (number_parse_u64(text, &value) < 0 || value > UINT32_MAX)
		return fail_because(err, EINVAL, "option --user: '%s' is not a number", text);
	*ret_id = (uint32_t) value;
	return 0;
}

static int set_user(struct spec_user *user, const char *text, struct error *err)
{
	const char *colon = strchr(text, ':');
	auto_free char *uid = colon != NULL ? text_format("%.*s", (int) (colon - text), text) : text_copy(text);

	if (parse_id(uid, &user->uid, err) < 0)
		return err->code;
	return colon != NULL ? parse_id(colon + 1, &user->gid, err) : 0;
}

/* base followed by list, as a NULL-terminated array of the arena. */
static void append(struct arena *arena, struct json_strings *base, const struct string_list *list)
{
	const char **items = arena_allocate(arena, (base->count + list->count + 1) * sizeof(*items));

	if (list->count == 0)
		return;
	if (base->count > 0)
		memcpy(items, base->items, base->count * sizeof(*items));
	memcpy(items + base->count, list->items, list->count * sizeof(*items));
	*base = (struct json_strings){.items = items, .count = base->count + list->count};
}

/* Not the inheritable ones, and so not the ambient ones: a file could make use of them that was not asked about (CVE-2022-29162). */
static void add_capabilities(struct arena *arena, struct spec_process *process, const struct string_list *list)
{
	struct spec_capabilities *sets;

	if (list->count == 0)
		return;
	sets = arena_allocate(arena, sizeof(*sets));
	if (process->capabilities != NULL)
		*sets = *process->capabilities;
	append(arena, &sets->bounding, list);
	append(arena, &sets->effective, list);
	append(arena, &sets->permitted, list);
	process->capabilities = sets;
}

static int add_groups(struct arena *arena, struct spec_user *user, const struct string_list *list, struct error *err)
{
	uint32_t *items = arena_allocate(arena, (user->additional_gids.count + list->count) * sizeof(*items));

	if (user->additional_gids.count > 0)
		memcpy(items, user->additional_gids.items, user->additional_gids.count * sizeof(*items));
	for (size_t i = 0; i < list->count; i++)
		if (parse_id(list->items[i], &items[user->additional_gids.count + i], err) < 0)
			return err->code;
	user->additional_gids = (struct json_ids){.items = items, .count = user->additional_gids.count + list->count};
	return 0;
}

static int from_options(const struct exec_command *self, struct spec *spec, const struct option_rest *rest,
			struct spec_process *process, struct error *err)
{
	struct string_list args = {.items = rest->positional + 1, .count = (size_t) rest->count - 1};

	if (args.count == 0)
		return fail_because(err, EINVAL, "exec needs a command or --process");
	*process = *spec->process;
	process->terminal = self->has_terminal;
	process->args = (struct json_strings){0};
	append(&spec->arena, &process->args, &args);
	append(&spec->arena, &process->env, &self->env);
	process->cwd = self->cwd != NULL ? self->cwd : process->cwd;
	process->apparmor_profile = self->apparmor != NULL ? self->apparmor : process->apparmor_profile;
	process->selinux_label = self->process_label != NULL ? self->process_label : process->selinux_label;
	process->no_new_privileges |= self->no_new_privileges;
	add_capabilities(&spec->arena, process, &self->capabilities);
	if (self->user != NULL && set_user(&process->user, self->user, err) < 0)
		return err->code;
	return add_groups(&spec->arena, &process->user, &self->groups, err);
}

/* Before the inherited descriptors are closed: the file may be one of them (/dev/fd/63, which is what a shell makes of <(…)). */
static int read_process_file(struct exec_command *self, struct error *err)
{
	return self->process_file == NULL ? 0 : file_read(AT_FDCWD, self->process_file, JSON_SIZE_MAX, &self->process_text, &self->process_size, err);
}

static int check_status(const struct container *container, bool ignores_pause, struct error *err)
{
	enum container_status status = container_status(container);

	if (status == CONTAINER_STOPPED || status == CONTAINER_CREATING)
		return fail_because(err, ESRCH, "cannot exec in a %s container: container not running",
				    container_status_name(status));
	if (status == CONTAINER_PAUSED && !ignores_pause)
		return fail_because(err, EBUSY, "cannot exec in a paused container (use --ignore-paused to override)");
	return 0;
}

static int exec_in(const struct global_options *globals, struct exec_command *self, const struct container *container, const struct option_rest *rest,
		   struct error *err)
{
	struct spec_process process = {0};
	struct spec_part part = {0};
	struct spec spec;
	int terminal_fd = FD_NONE;
	int status = 0;
	pid_t pid;
	int r;

	if (check_status(container, self->ignores_pause, err) < 0 || container_load_spec(container, &spec, err) < 0)
		return err->code;
	r = self->process_file != NULL ? spec_part_parse(&part, spec_process_fields, self->process_text, self->process_size, "process", &process, err)
				       : from_options(self, &spec, rest, &process, err);
	if (r == 0)
		r = spec_process_check(&process, err);
	if (r == 0)
		command_warn_of_capabilities(globals, &process);
	if (r == 0)
		r = exec_process(&self->exec, container, &spec, &process, &pid, &terminal_fd, err);
	spec_part_deinit(&part);
	spec_deinit(&spec);
	if (r == 0 && !self->exec.is_detached)
		r = foreground_attend(pid, terminal_fd, FD_NONE, &status, err);
	if (terminal_fd >= 0)
		close(terminal_fd);
	return r < 0 ? r : status;
}

static int use_cgroups(struct exec_command *self, struct error *err)
{
	if (self->cgroups.count == 0)
		return 0;
	self->exec.cgroups = self->cgroup_list = calloc(self->cgroups.count + 1, sizeof(*self->cgroup_list));
	if (self->cgroup_list == NULL)
		return fail_errno(err, ENOMEM, "exec");
	memcpy(self->cgroup_list, self->cgroups.items, self->cgroups.count * sizeof(*self->cgroup_list));
	return 0;
}

static int prepare_and_exec(const struct global_options *globals, struct exec_command *self, const struct option_rest *rest, struct error *err)
{
	struct container container;
	int r;

	if (read_process_file(self, err) < 0 || process_keep_fds(self->exec.preserved_fds, &self->exec.listen_fds, err) < 0 ||
	    use_cgroups(self, err) < 0 || container_open(&container, globals->root, rest->positional[0], false, err) < 0)
		return err->code;
	if (!self->exec.is_detached)
		foreground_begin();
	r = exec_in(globals, self, &container, rest, err);
	container_close(&container);
	return r;
}

static int exec(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	struct exec_command *self = options;
	int r = prepare_and_exec(globals, self, rest, err);

	free(self->cgroup_list);
	free(self->process_text);
	return r;
}

const struct command command_exec = {
	.name = "exec",
	.arguments = "[options] ID COMMAND [ARGUMENTS…]",
	.summary = "run another process in a container",
	.options = &table,
	.options_size = sizeof(struct exec_command),
	.positional_min = 1,
	.positional_max = -1,
	.failure_status = 255,
	.runs_container_code = true,
	.run = exec,
};
