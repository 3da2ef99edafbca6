/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sub-commands share: a table's worth of description, parsing with --help, saying what failed.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"

#include <stdbool.h>
#include <stddef.h>

struct command {
	const char *name;
	const char *purpose;
	const struct option_entry *entries;
	const void *defaults; /* what the options are when none is given; options_size bytes */
	size_t options_size;
	/* Returns the exit status, or < 0. What err holds is told unless it is 0. */
	int (*run)(void *options, struct error *err);
};

/* argv[0] is the sub-command; no positional arguments are accepted. Returns the exit status. */
int command_line_run(const struct command *command, int argc, char **argv);
/* -EINVAL names the option that is missing. */
int command_line_need(bool is_given, const char *option, struct error *err);
