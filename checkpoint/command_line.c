/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/command_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"

static int run(const char *program, const struct command *command, int argc, char **argv)
{
	auto_free char *about = text_format("%s %s: %s", program, command->name, command->purpose);
	auto_free void *options = malloc(command->options_size);
	struct option_table table = {.entries = command->entries, .about = about};
	struct option_rest rest = {0};
	struct error err = ERROR_NONE;
	int r;

	if (options == NULL)
		abort();
	memcpy(options, command->defaults, command->options_size);
	r = options_begin(&table, argc, argv, options, &rest, &err);
	if (r > 0 && rest.count > 0)
		r = fail_because(&err, EINVAL, "unexpected argument '%s'", rest.positional[0]);
	if (r > 0)
		r = command->run(options, &err);
	option_rest_deinit(&rest);
	options_release(&table, options);
	if (r != 0 && err.code != 0)
		(void) fprintf(stderr, "%s %s: %s\n", program, command->name, err.message);
	return r >= 0 ? r : r == -EINVAL ? 2 : EXIT_FAILURE;
}

static int usage(const char *program, const struct command *const *commands, int status)
{
	FILE *out = status == 0 ? stdout : stderr;

	(void) fprintf(out, "Usage: %s COMMAND [OPTIONS]\n\nCommands:\n", program);
	for (const struct command *const *command = commands; *command != NULL; command++)
		(void) fprintf(out, "  %-10s %s\n", (*command)->name, (*command)->purpose);
	return status;
}

int command_line_main(const char *program, const struct command *const *commands, int argc, char **argv)
{
	log_open(program, LOG_INFO);
	if (argc < 2)
		return usage(program, commands, 2);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return usage(program, commands, 0);
	if (strcmp(argv[1], "--version") == 0) {
		printf("%s %s\n", program, HYDRA_VERSION);
		return EXIT_SUCCESS;
	}
	for (const struct command *const *command = commands; *command != NULL; command++) {
		if (strcmp(argv[1], (*command)->name) == 0)
			return run(program, *command, argc - 1, argv + 1);
	}
	return usage(program, commands, 2);
}

int command_line_need(bool is_given, const char *option, struct error *err)
{
	return is_given ? 0 : fail_because(err, EINVAL, "--%s is missing", option);
}
