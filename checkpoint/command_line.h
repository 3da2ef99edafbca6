/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs share: finding the sub-command by its description, parsing with --help, saying what failed.
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

/* main() of a program: opens its log and runs the sub-command that argv[1] names; no positional arguments are accepted.
 * The list ends with NULL. Returns the exit status; 2: wrong command line. */
int command_line_main(const char *program, const struct command *const *commands, int argc, char **argv);
/* -EINVAL names the option that is missing. */
int command_line_need(bool is_given, const char *option, struct error *err);
