/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include "base/number.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_entry *find_name(const struct option_table *table, const char *name, size_t size)
{
	for (const struct option_entry *entry = table->entries; entry->name != NULL; entry++) {
		if (strlen(entry->name) == size && memcmp(entry->name, name, size) == 0)
			return entry;
	}
	return NULL;
}

static const struct option_entry *find_letter(const struct option_table *table, char letter)
{
	for (const struct option_entry *entry = table->entries; entry->name != NULL; entry++) {
		if (entry->letter == letter && letter != 0)
			return entry;
	}
	return NULL;
}

static int set_flag(const struct option_entry *entry, void *target, const char *value, struct error *err)
{
	bool *flag = (bool *) ((char *) target + entry->offset);

	if (value == NULL || strcmp(value, "true") == 0)
		*flag = true;
	else if (strcmp(value, "false") == 0)
		*flag = false;
	else
		return fail_because(err, EINVAL, "option --%s: '%s' is not true or false", entry->name, value);
	return 0;
}

static int set_list(const struct option_entry *entry, void *target, const char *value, struct error *err)
{
	struct string_list *list = (struct string_list *) (void *) ((char *) target + entry->offset);
	const char **larger = realloc(list->items, (list->count + 1) * sizeof(*larger));

	if (larger == NULL)
		return fail_errno(err, ENOMEM, "option --%s", entry->name);
	list->items = larger;
	list->items[list->count++] = value;
	return 0;
}

static int set_value(const struct option_entry *entry, void *target, const char *value, struct error *err)
{
	char *place = (char *) target + entry->offset;

	switch (entry->kind) {
	case OPTION_FLAG:
		return set_flag(entry, target, value, err);
	case OPTION_STRING:
		memcpy(place, &value, sizeof(value));
		return 0;
	case OPTION_LIST:
		return set_list(entry, target, value, err);
	case OPTION_INT:
		if (number_parse_int(value, INT_MIN, INT_MAX, (int *) (void *) place) < 0)
			return fail_because(err, EINVAL, "option --%s: '%s' is not a whole number", entry->name, value);
		return 0;
	case OPTION_IGNORED:
		return 0;
	}
	return 0;
}

struct cursor {
	int argc;
	char **argv;
	int at;
};

static int take_value(struct cursor *cursor, const struct option_entry *entry, const char *attached, void *target,
		      struct error *err)
{
	const char *value = attached;

	if (entry->kind != OPTION_FLAG && value == NULL) {
		if (cursor->at + 1 >= cursor->argc)
			return fail_because(err, EINVAL, "flag needs an argument: --%s", entry->name);
		value = cursor->argv[++cursor->at];
	}
	return set_value(entry, target, value, err);
}

static int parse_long(const struct option_table *table, struct cursor *cursor, const char *name, void *target,
		      struct error *err)
{
	const char *equals = strchr(name, '=');
	size_t size = equals != NULL ? (size_t) (equals - name) : strlen(name);
	const struct option_entry *entry = find_name(table, name, size);

	if (entry == NULL)
		return fail_because(err, EINVAL, "unknown option '--%.*s' (--help lists them)", (int) size, name);
	return take_value(cursor, entry, equals != NULL ? equals + 1 : NULL, target, err);
}

/* -x value, -xvalue, -itd; and -name as go-runc writes it */
static int parse_short(const struct option_table *table, struct cursor *cursor, const char *letters, void *target,
		       struct error *err)
{
	size_t size = strcspn(letters, "=");

	if (size > 1 && find_name(table, letters, size) != NULL)
		return parse_long(table, cursor, letters, target, err);
	for (; *letters != '\0'; letters++) {
		const struct option_entry *entry = find_letter(table, *letters);

		if (entry == NULL)
			return fail_because(err, EINVAL, "unknown option '-%s' (--help lists them)", letters);
		if (entry->kind != OPTION_FLAG)
			return take_value(cursor, entry, letters[1] != '\0' ? letters + 1 : NULL, target, err);
		if (set_value(entry, target, NULL, err) < 0)
			return err->code;
	}
	return 0;
}

static bool is_help(const char *argument)
{
	return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0 || strcmp(argument, "-help") == 0;
}

static int parse_all(const struct option_table *table, struct cursor *cursor, void *target, struct option_rest *rest,
		     struct error *err)
{
	bool only_positional = false;
	int r = 0;

	for (cursor->at = 1; cursor->at < cursor->argc && r == 0; cursor->at++) {
		const char *argument = cursor->argv[cursor->at];

		if (only_positional || argument[0] != '-' || argument[1] == '\0') {
			rest->positional[rest->count++] = argument;
			only_positional |= table->stops_at_positional;
		} else if (strcmp(argument, "--") == 0) {
			only_positional = true;
		} else if (is_help(argument) && find_letter(table, argument[1]) == NULL) {
			rest->wants_help = true;
		} else if (argument[1] == '-') {
			r = parse_long(table, cursor, argument + 2, target, err);
		} else {
			r = parse_short(table, cursor, argument + 1, target, err);
		}
	}
	return r;
}

int options_parse(const struct option_table *table, int argc, char **argv, void *target, struct option_rest *ret_rest,
		  struct error *err)
{
	struct cursor cursor = {.argc = argc, .argv = argv};
	struct option_rest rest = {.positional = calloc((size_t) argc + 1, sizeof(char *))};
	int r;

	if (rest.positional == NULL)
		return fail_errno(err, ENOMEM, "read options");
	r = parse_all(table, &cursor, target, &rest, err);
	if (r < 0) {
		option_rest_deinit(&rest);
		return r;
	}
	*ret_rest = rest;
	return 0;
}

int options_begin(const struct option_table *table, int argc, char **argv, void *target, struct option_rest *ret_rest,
		  struct error *err)
{
	const struct option_entry *version = find_name(table, "version", strlen("version"));
	struct option_rest rest = {0};
	int r = options_parse(table, argc, argv, target, &rest, err);

	if (r < 0)
		return r;
	if (rest.wants_help) {
		(void) printf("%s\n\nOptions:\n", table->about);
		options_print(table);
	} else if (version != NULL && *(const bool *) ((const char *) target + version->offset)) {
		(void) printf("%.*s\n", (int) strcspn(table->about, ":"), table->about);
	} else {
		*ret_rest = rest;
		return 1;
	}
	option_rest_deinit(&rest);
	return 0;
}

void option_rest_deinit(struct option_rest *self)
{
	free(self->positional);
	*self = (struct option_rest){0};
}

void string_list_deinit(struct string_list *self)
{
	free(self->items);
	*self = (struct string_list){0};
}

void options_release(const struct option_table *table, void *target)
{
	for (const struct option_entry *entry = table->entries; entry->name != NULL; entry++) {
		if (entry->kind == OPTION_LIST)
			string_list_deinit((struct string_list *) (void *) ((char *) target + entry->offset));
	}
}

void options_print(const struct option_table *table)
{
	for (const struct option_entry *entry = table->entries; entry->name != NULL; entry++) {
		char left[64];
		char letter[8] = "    ";

		if (entry->help == NULL)
			continue;
		if (entry->letter != 0)
			(void) text_fit(letter, sizeof(letter), "-%c, ", entry->letter);
		(void) text_fit(left, sizeof(left), "%s--%s%s%s", letter, entry->name, entry->value != NULL ? " " : "",
				entry->value != NULL ? entry->value : "");
		(void) printf("  %-32s %s\n", left, entry->help);
	}
}
