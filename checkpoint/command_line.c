/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/command_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/owned.h"
#include "base/text.h"

static void free_lists(const struct option_entry *entries, void *options)
{
	for (const struct option_entry *entry = entries; entry->name != NULL; entry++)
		if (entry->kind == OPTION_LIST)
			string_list_deinit((struct string_list *) (void *) ((char *) options + entry->offset));
}

int command_line_run(const struct command *command, int argc, char **argv)
{
	auto_free char *about = text_format("hydra-checkpoint %s: %s", command->name, command->purpose);
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
	free_lists(command->entries, options);
	if (r != 0 && err.code != 0)
		(void) fprintf(stderr, "hydra-checkpoint %s: %s\n", command->name, err.message);
	return r >= 0 ? r : r == -EINVAL ? 2 : EXIT_FAILURE;
}

int command_line_need(bool is_given, const char *option, struct error *err)
{
	return is_given ? 0 : fail_because(err, EINVAL, "--%s is missing", option);
}
