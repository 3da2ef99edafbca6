/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/command_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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
		printf("hydra-checkpoint %s: %s\n\nOptions:\n", argv[0], purpose);
		options_print(&table);
	}
	return r < 0 ? r : !wants_help;
}

int command_line_fail(const char *command, const struct error *err)
{
	(void) fprintf(stderr, "hydra-checkpoint %s: %s\n", command, err->message);
	return err->code == -EINVAL ? 2 : EXIT_FAILURE;
}

int command_line_need(bool is_given, const char *option, struct error *err)
{
	return is_given ? 0 : fail_because(err, EINVAL, "--%s is missing", option);
}
