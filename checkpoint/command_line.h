/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs and their sub-commands share: finding the sub-command, parsing with --help, saying what failed.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"

#include <stdbool.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

/* main() of a program: opens its log and runs the sub-command that argv[1] names. The table ends with an empty entry;
 * program must outlive the call. Returns the exit status; 2: wrong command line. */
int command_line_run(const char *program, const struct command *commands, int argc, char **argv);

/* 1: go on; 0: --help was printed; negative: the command line is wrong. No positional arguments are accepted. */
int command_line_parse(const struct option_entry *entries, int argc, char **argv, const char *purpose, void *target,
		       struct error *err);
/* Prints the failure to standard error. Returns the exit status. */
int command_line_fail(const char *command, const struct error *err);
/* -EINVAL names the option that is missing. */
int command_line_need(bool is_given, const char *option, struct error *err);
