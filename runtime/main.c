/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra: an OCI runtime. Finds the command, reads its options, reports the one error there may be.
 */
#include "base/owned.h"
#include "base/text.h"
#include "runtime/capabilities.h"
#include "runtime/command.h"
#include "runtime/report.h"
#include "runtime/self_protect.h"
#include "runtime/spec.h"
#include "runtime/standing.h"
#include "runtime/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static const struct command *const commands[] = {
	&command_create, &command_start,  &command_run,    &command_exec,   &command_state,    &command_list,
	&command_ps,     &command_kill,   &command_delete, &command_pause,  &command_resume,   &command_update,
	&command_events, &command_spec,   &command_features, &command_checkpoint, &command_restore,
};
/* For hydra-shim: not listed. */
static const struct command *const hidden_commands[] = {&command_adopt_prepare, &command_adopt};

#define GLOBAL_MEMBER(member) offsetof(struct global_options, member)

static const struct option_entry global_entries[] = {
	{0, "root", "DIR", OPTION_STRING, GLOBAL_MEMBER(root), "where the state of containers is kept"},
	{0, "log", "FILE", OPTION_STRING, GLOBAL_MEMBER(log), "also write errors to this file, or to syslog:NAME"},
	{0, "log-format", "text|json", OPTION_STRING, GLOBAL_MEMBER(log_format), "how (text)"},
	{0, "log-level", "LEVEL", OPTION_STRING, GLOBAL_MEMBER(log_level), "error, warning or debug"},
	{0, "debug", NULL, OPTION_FLAG, GLOBAL_MEMBER(is_debug), "also write what is done to the log, or to standard error"},
	{0, "systemd-cgroup", NULL, OPTION_FLAG, GLOBAL_MEMBER(has_systemd_cgroup), "the same as --cgroup-manager systemd"},
	{0, "cgroup-manager", "NAME", OPTION_STRING, GLOBAL_MEMBER(cgroup_manager), "cgroupfs, systemd or disabled (cgroupfs)"},
	{0, "rootless", "true|false|auto", OPTION_STRING, GLOBAL_MEMBER(rootless), "whether to do without cgroups that cannot be had (auto)"},
	{0, "criu", "PATH", OPTION_IGNORED, 0, "accepted, without effect"},
	{'v', "version", NULL, OPTION_FLAG, GLOBAL_MEMBER(wants_version), "print the version"},
	{0, NULL},
};
static const struct option_table global_table = {.entries = global_entries, .stops_at_positional = true};
static const struct option_entry no_entries[] = {{0, NULL}};
const struct option_table command_no_options = {.entries = no_entries};

static bool wants_json(const struct global_options *globals)
{
	return globals->log_format != NULL && strcmp(globals->log_format, "json") == 0;
}

/* "syslog:NAME" and "journald:NAME" as crun has them; the journal reads what syslog(3) writes. */
static bool is_logging_to_system(const char *log)
{
	return log != NULL && (text_has_prefix(log, "syslog:") || text_has_prefix(log, "journald:"));
}

/* NULL: there is none. */
static const char *log_file(const struct global_options *globals)
{
	const char *file = globals->log != NULL && text_has_prefix(globals->log, "file:") ? globals->log + strlen("file:") : globals->log;

	return file == NULL || file[0] == '\0' || is_logging_to_system(file) ? NULL : file;
}

static int check_log(const char *log, struct error *err)
{
	static const char *const kinds[] = {"file", "syslog", "journald", NULL};
	const char *colon = log != NULL ? strchr(log, ':') : NULL;
	auto_free char *kind = colon != NULL ? text_format("%.*s", (int) (colon - log), log) : NULL;

	if (kind == NULL || strchr(kind, '/') != NULL || text_is_one_of(kind, kinds))
		return 0;
	return fail_because(err, EINVAL, "option --log: unknown log type '%s'; a file whose name has a colon needs file: or ./ before it", kind);
}

static void write_log(const struct global_options *globals, const char *level, const char *message)
{
	const char *file = log_file(globals);
	auto_close int fd = FD_NONE;

	if (is_logging_to_system(globals->log))
		syslog(LOG_DAEMON | (strcmp(level, "error") == 0 ? LOG_ERR : LOG_WARNING), "%s", message);
	if (file == NULL)
		return;
	fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	report_line(fd, wants_json(globals), level, message);
}

void command_warn(const struct global_options *globals, const char *format, ...)
{
	char message[600];
	va_list args;

	va_start(args, format);
	(void) vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	write_log(globals, "warning", message);
	(void) dprintf(STDERR_FILENO, "hydra: warning: %s\n", message);
}

void command_warn_of_capabilities(const struct global_options *globals, const struct spec_process *process)
{
	const char *name = capability_sets_unknown(process->capabilities);

	if (name != NULL)
		command_warn(globals, "process.capabilities: unknown capability '%s' is left out", name);
}

void command_report(const struct global_options *globals, const struct error *err)
{
	write_log(globals, "error", err->message);
	(void) dprintf(STDERR_FILENO, "hydra: %s\n", err->message);
}

/* Under another name, which a link gives it, callers look for that one. */
static const char *own_name(void)
{
	return program_invocation_short_name[0] != '\0' ? program_invocation_short_name : "hydra";
}

static void print_help(void)
{
	(void) printf("NAME:\n   %s - Open Container Initiative runtime\n\nusage: hydra [options] COMMAND [command options] …\n\ncommands:\n",
		      own_name());
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		(void) printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
	(void) puts("\noptions:");
	options_print(&global_table);
	(void) puts("\n`hydra COMMAND --help` tells about a command.");
}

static void print_command_help(const struct command *command)
{
	(void) printf("NAME:\n   %s %s - %s\n\nusage: hydra %s %s\n", own_name(), command->name, command->summary, command->name, command->arguments);
	if (command->options->entries[0].name != NULL) {
		(void) puts("\noptions:");
		options_print(command->options);
	}
}

static int print_version(void)
{
	bool is_hydra = strcmp(own_name(), "hydra") == 0;

	(void) printf("%s version " HYDRA_VERSION "\ncommit: unknown%s\nspec: " SPEC_VERSION "\n"
		      "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU\n", own_name(), is_hydra ? "" : " (of hydra)");
	return 0;
}

/* The folder that a login makes for a user. NULL: there is none. */
static char *own_folder(void)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	auto_free char *usual = text_format("/run/user/%u", geteuid());

	if (runtime_dir != NULL && runtime_dir[0] == '/')
		return text_copy(runtime_dir);
	return geteuid() != 0 && access(usual, W_OK) == 0 ? take_ptr(&usual) : NULL;
}

static int choose_root(struct global_options *globals, struct error *err)
{
	auto_free char *folder = own_folder();
	char resolved[PATH_MAX];

	if (globals->root == NULL) {
		globals->has_default_root = true;
		globals->root = "/run/hydra";
		/* inside of a user namespace being root means little: the caller's own folder is the right one */
		if (standing_looks_rootless() && folder != NULL) {
			globals->own_root = text_format("%s/hydra", folder);
			globals->root = globals->own_root;
			/* the sticky bit keeps tmpfiles cleaners away */
			if (mkdir(globals->root, 0700) == 0)
				(void) chmod(globals->root, 01700);
		}
	}
	if (globals->root[0] == '\0' || (realpath(globals->root, resolved) != NULL && strcmp(resolved, "/") == 0))
		return fail_because(err, EINVAL, "option --root: must not be the root directory");
	return 0;
}

static int choose_manager(struct global_options *globals, struct error *err)
{
	static const char *const managers[] = {"systemd", "cgroupfs", "disabled", NULL};
	const char *name = globals->cgroup_manager != NULL ? globals->cgroup_manager : globals->has_systemd_cgroup ? "systemd" : "cgroupfs";

	if (!text_is_one_of(name, managers))
		return fail_because(err, EINVAL, "option --cgroup-manager: '%s' is not systemd, cgroupfs or disabled", name);
	if (globals->has_systemd_cgroup && strcmp(name, "cgroupfs") == 0)
		return fail_because(err, EINVAL, "option --systemd-cgroup: contradicts --cgroup-manager cgroupfs");
	globals->has_cgroups = strcmp(name, "disabled") != 0;
	globals->uses_systemd = strcmp(name, "systemd") == 0;
	return 0;
}

static int check_globals(struct global_options *globals, struct error *err)
{
	static const char *const formats[] = {"text", "json", NULL};

	if (globals->log_format != NULL && !text_is_one_of(globals->log_format, formats))
		return fail_because(err, EINVAL, "option --log-format: '%s' is not text or json", globals->log_format);
	if (check_log(globals->log, err) < 0)
		return err->code;
	if (globals->is_debug || (globals->log_level != NULL && strcmp(globals->log_level, "debug") == 0))
		report_debug_begin(log_file(globals), wants_json(globals));
	if (choose_manager(globals, err) < 0 || standing_choose(globals->rootless, err) < 0)
		return err->code;
	return choose_root(globals, err);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	for (size_t i = 0; i < sizeof(hidden_commands) / sizeof(hidden_commands[0]); i++)
		if (strcmp(hidden_commands[i]->name, name) == 0)
			return hidden_commands[i];
	return NULL;
}

static int check_count(const struct command *command, int count, struct error *err)
{
	if (count < command->positional_min || (command->positional_max >= 0 && count > command->positional_max))
		return fail_because(err, EINVAL, "usage: hydra %s %s", command->name, command->arguments);
	return 0;
}

static int run_command(const struct command *command, const struct global_options *globals, int argc, char **argv,
		       char **all_argv, struct error *err)
{
	auto_free void *options = calloc(1, command->options_size + 1);
	struct option_rest rest = {0};
	int r;

	if (options == NULL)
		return fail_errno(err, ENOMEM, "read the options");
	r = options_parse(command->options, argc, argv, options, &rest, err);
	if (r == 0 && rest.wants_help) {
		print_command_help(command);
	} else if (r == 0) {
		r = check_count(command, rest.count, err);
		if (r == 0 && globals->uses_systemd)
			systemd_remember_program();
		if (r == 0 && command->runs_container_code)
			r = self_protect(all_argv, err);
		if (r == 0)
			r = command->run(globals, options, &rest, err);
	}
	options_release(command->options, options);
	option_rest_deinit(&rest);
	return r;
}

/* argv's index of the first positional, where the command starts. */
static int command_index(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (argv[i] == name)
			return i;
	return argc;
}

static int start(struct global_options *globals, int argc, char **argv, const struct command **ret_command,
		 struct error *err)
{
	struct option_rest rest = {0};
	const char *name;
	int index;
	int r = options_parse(&global_table, argc, argv, globals, &rest, err);

	if (r < 0)
		return r;
	name = rest.count > 0 ? rest.positional[0] : NULL;
	if (globals->wants_version || (name == NULL && rest.wants_help) || (name != NULL && strcmp(name, "help") == 0)) {
		option_rest_deinit(&rest);
		if (globals->wants_version)
			return print_version();
		print_help();
		return 0;
	}
	option_rest_deinit(&rest);
	if (name == NULL)
		return fail_because(err, EINVAL, "no command given; `hydra --help` lists them");
	*ret_command = find_command(name);
	if (*ret_command == NULL)
		return fail_because(err, EINVAL, "unknown command '%s': No help topic for '%s'; `hydra --help` lists them", name, name);
	if (check_globals(globals, err) < 0)
		return err->code;
	index = command_index(argc, argv, name);
	return run_command(*ret_command, globals, argc - index, argv + index, argv, err);
}

int main(int argc, char **argv)
{
	struct global_options globals = {0};
	const struct command *command = NULL;
	struct error err = ERROR_NONE;
	int r = start(&globals, argc, argv, &command, &err);

	free(globals.own_root);
	if (r >= 0 && fflush(stdout) == 0)
		return r;
	if (r >= 0)
		(void) fail_errno(&err, errno, "write to standard output");
	command_report(&globals, &err);
	return command != NULL ? command->failure_status : 1;
}
