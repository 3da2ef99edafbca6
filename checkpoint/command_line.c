/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/command_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const char *program_name = "";

static int usage(const struct command *commands, int status)
{
	FILE *out = status == 0 ? stdout : stderr;

	(void) fprintf(out, "Usage: %s COMMAND [OPTIONS]\n\nCommands:\n", program_name);
	for (const struct command *command = commands; command->name != NULL; command++)
		(void) fprintf(out, "  %-10s %s\n", command->name, command->help);
	return status;
}

int command_line_run(const char *program, const struct command *commands, int argc, char **argv)
{
	program_name = program;
	log_open(program, LOG_INFO);
	if (argc < 2)
		return usage(commands, 2);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return usage(commands, 0);
	if (strcmp(argv[1], "--version") == 0) {
		printf("%s %s\n", program, HYDRA_VERSION);
		return EXIT_SUCCESS;
	}
	for (const struct command *command = commands; command->name != NULL; command++) {
		if (strcmp(argv[1], command->name) == 0)
			return command->run(argc - 1, argv + 1);
	}
	return usage(commands, 2);
}

int command_line_parse(const struct option_entry *entries, int argc, char **argv, const char *purpose, void *target,
		       struct error *err)
{
	struct option_table table = {.entries = entries};
	struct option_rest rest = {0};
	int r = options_parse(&table, argc, argv, target, &rest, err);
	bool wants_help = r == 0 && rest.wants_help;

	if (r == 0 && !wants_help && rest.count > 0)
		r = fail_because(err, EINVAL, "unexpected argument '%s'", rest.positional[0]);
	if (r == 0)
		option_rest_deinit(&rest);
	if (wants_help) {
		printf("%s %s: %s\n\nOptions:\n", program_name, argv[0], purpose);
		options_print(&table);
	}
	return r < 0 ? r : !wants_help;
}

int command_line_fail(const char *command, const struct error *err)
{
	(void) fprintf(stderr, "%s %s: %s\n", program_name, command, err->message);
	return err->code == -EINVAL ? 2 : EXIT_FAILURE;
}

int command_line_need(bool is_given, const char *option, struct error *err)
{
	return is_given ? 0 : fail_because(err, EINVAL, "--%s is missing", option);
}
