/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl: containers from the command line.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "state/run_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_entry global_entries[] = {
	{0, "root", "DIR", OPTION_STRING, offsetof(struct cli, root), "run directories (default $HYDRA_ROOT or /run/hydra)"},
	{'n', "namespace", "NS", OPTION_STRING, offsetof(struct cli, namespace), "namespace (default \"default\")"},
	{0, "format", "FORMAT", OPTION_STRING, offsetof(struct cli, format), "table (default) or json"},
	{0, "plain", NULL, OPTION_FLAG, offsetof(struct cli, plain), "no progress bars"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static const struct command *const commands[] = {
	&command_run,	 &command_create, &command_ps,	   &command_inspect, &command_logs,    &command_exec,
	&command_attach, &command_start,  &command_stop,   &command_kill,    &command_rm,      &command_pause,
	&command_resume, &command_wait,	  &command_events, &command_stats,   &command_update,  &command_daemon,
	&command_migrate, &command_migrations, &command_checkpoint, &command_restore, &command_drain, &command_rebalance, &command_host, &command_host_check, &command_prune, &command_upgrade, &command_ledger, &command_top,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(void)
{
	static const struct option_table table = {global_entries, true};

	(void) puts("hydractl [OPTIONS] COMMAND: containers that outlive their daemon\n\nCommands (COMMAND --help explains):");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		(void) printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
	(void) puts("\nOptions:");
	options_print(&table);
	(void) puts("  -v, --version                    print the version\n\n"
		    "Exit status: the container's or command's own; 125 when hydractl itself failed.");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

static const struct option_entry no_entries[] = {{0, NULL, NULL, OPTION_FLAG, 0, NULL}};

static int check_count(const struct command *command, const struct option_rest *rest, struct error *err)
{
	if (rest->count >= command->min_arguments && (command->max_arguments < 0 || rest->count <= command->max_arguments))
		return 0;
	return fail_because(err, EINVAL, "usage: hydractl %s %s", command->name, command->arguments);
}

static int run_command(const struct cli *cli, const struct command *command, int argc, char **argv, struct error *err)
{
	struct option_table table = {command->options != NULL ? command->options : no_entries, command->stops_at_positional};
	auto_free void *options = calloc(1, command->options_size + 1);
	struct option_rest rest = {0};
	int r = options_parse(&table, argc, argv, options, &rest, err);

	if (r == 0 && rest.wants_help) {
		(void) printf("hydractl %s%s%s: %s\n", command->name, command->arguments[0] != '\0' ? " " : "", command->arguments,
			      command->summary);
		if (command->options != NULL)
			(void) puts("\nOptions:");
		options_print(&table);
	} else if (r == 0) {
		r = check_count(command, &rest, err);
		if (r == 0)
			r = command->run(cli, options, &rest, err);
	}
	options_release(&table, options);
	option_rest_deinit(&rest);
	return r;
}

static int check_format(const struct cli *cli, struct error *err)
{
	static const char *const formats[] = {"table", "json", NULL};

	if (text_is_one_of(cli->format, formats))
		return 0;
	return fail_because(err, EINVAL, "option --format: '%s': expected table or json", cli->format);
}

static int dispatch(struct cli *cli, int argc, char **argv, struct error *err)
{
	static const struct option_table table = {global_entries, true};
	struct option_rest rest = {0};
	const struct command *command = NULL;
	int r = options_parse(&table, argc, argv, cli, &rest, err);

	if (r == 0 && (rest.wants_help || rest.count == 0)) {
		print_help();
		r = rest.wants_help ? 0 : EXIT_OF_HYDRACTL;
	} else if (r == 0) {
		command = find_command(rest.positional[0]);
		r = check_format(cli, err);
		if (r == 0 && command == NULL)
			r = fail_because(err, EINVAL, "unknown command '%s' (hydractl --help lists them)", rest.positional[0]);
		else if (r == 0)
			r = run_command(cli, command, rest.count, argv + argc - rest.count, err);
	}
	option_rest_deinit(&rest);
	return r;
}

int main(int argc, char **argv)
{
	struct cli cli = {.root = run_root(), .namespace = NAMESPACE_DEFAULT, .format = "table"};
	struct error err = ERROR_NONE;
	int r;

	if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-v") == 0)) {
		(void) puts("hydractl " HYDRA_VERSION);
		return EXIT_SUCCESS;
	}
	r = dispatch(&cli, argc, argv, &err);
	if (r >= 0)
		return r;
	(void) fprintf(stderr, "hydractl: %s\n", err.message);
	return r == -EINTR ? EXIT_INTERRUPTED : EXIT_OF_HYDRACTL;
}
