/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines as tables: one entry per option gives parsing, --help and the completion list.
 *
 * Accepted: --name value, --name=value, -name (single dash long, as go-runc writes it), -x value, -xvalue,
 * bundled flags (-it), -- ends options.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum option_kind {
	OPTION_FLAG,    /* *(bool *) target = true; also --name=true|false */
	OPTION_STRING,  /* *(const char **) target points into argv */
	OPTION_LIST,    /* *(struct string_list *) target, repeatable */
	OPTION_INT,     /* *(int *) target */
	OPTION_IGNORED, /* accepted with a value, without effect */
};

struct string_list {
	const char **items; /* into argv; array is owned */
	size_t count;
};

struct option_entry {
	char letter; /* 0: none */
	const char *name;
	const char *value; /* what --help calls the value; NULL for flags */
	enum option_kind kind;
	size_t offset; /* of the target in the structure given to options_parse */
	const char *help;
};

struct option_table {
	const struct option_entry *entries; /* ends with name == NULL */
	bool stops_at_positional; /* exec-like commands: the rest belongs to somebody else */
	const char *about;        /* what options_begin() prints above the options */
};

struct option_rest {
	const char **positional; /* owned array of pointers into argv */
	int count;
	bool wants_help;
};

/* -EINVAL with a message that names the option. argv[0] is not looked at. */
int options_parse(const struct option_table *table, int argc, char **argv, void *target, struct option_rest *ret_rest,
		  struct error *err);
/* As options_parse, and 1 on success; but with --help it prints about and the options, with a flag of the table that is called
 * "version" what stands before the colon of about, and returns 0 without a rest. */
int options_begin(const struct option_table *table, int argc, char **argv, void *target, struct option_rest *ret_rest,
		  struct error *err);
void option_rest_deinit(struct option_rest *self);
void string_list_deinit(struct string_list *self);
/* Frees what options_parse() allocated in target: its lists. */
void options_release(const struct option_table *table, void *target);
/* The option lines of --help. */
void options_print(const struct option_table *table);
