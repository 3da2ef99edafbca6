/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra state, hydra list.
 */
#include "base/owned.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/container.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct list_options {
	const char *format;
	bool is_quiet;
};

static const struct option_entry list_entries[] = {
	{'f', "format", "table|json", OPTION_STRING, offsetof(struct list_options, format), "how to print (table)"},
	{'q', "quiet", NULL, OPTION_FLAG, offsetof(struct list_options, is_quiet), "only the ids"},
	{0, NULL},
};
static const struct option_table list_table = {.entries = list_entries};

static int state(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	struct container container;
	auto_free char *json = NULL;

	(void) options;
	if (container_open(&container, globals->root, rest->positional[0], false, err) < 0)
		return err->code;
	json = container_state_json(&container.state, container_status(&container), true);
	container_close(&container);
	(void) puts(json);
	return 0;
}

static void print_row(const struct container *container)
{
	enum container_status status = container_status(container);
	const struct container_state *known = &container->state;
	char owner[24];

	(void) text_fit(owner, sizeof(owner), "#%llu", (unsigned long long) known->owner.value);
	(void) printf("%-11s %-9lld %-11s %s %s %s\n", container->id,
		      status == CONTAINER_STOPPED ? 0LL : (long long) known->pid.value, container_status_name(status),
		      known->bundle, known->created, known->owner.value == 0 ? "root" : owner);
}

static void print_one(const struct container *container, const struct list_options *options, bool is_json, size_t index)
{
	auto_free char *json = NULL;

	if (options->is_quiet) {
		(void) puts(container->id);
		return;
	}
	if (!is_json) {
		print_row(container);
		return;
	}
	json = container_state_json(&container->state, container_status(container), false);
	(void) printf("%s%s", index == 0 ? "[" : ",", json);
}

static void print_all(const char *root, struct dirent **entries, int count, const struct list_options *options, bool is_json)
{
	size_t printed = 0;

	if (!is_json && !options->is_quiet)
		(void) puts("ID          PID       STATUS      BUNDLE CREATED OWNER");
	for (int i = 0; i < count; i++) {
		struct container container;
		struct error ignored;

		/* what is half made or just being removed is no container */
		if (container_open(&container, root, entries[i]->d_name, false, &ignored) < 0)
			continue;
		print_one(&container, options, is_json, printed++);
		container_close(&container);
	}
	if (is_json && !options->is_quiet)
		(void) puts(printed > 0 ? "]" : "null");
}

static int list(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct list_options *self = options;
	struct dirent **entries = NULL;
	bool is_json = self->format != NULL && strcmp(self->format, "json") == 0;
	int count;

	(void) rest;
	if (self->format != NULL && !is_json && strcmp(self->format, "table") != 0)
		return fail_because(err, EINVAL, "option --format: '%s' is not table or json", self->format);
	count = scandir(globals->root, &entries, NULL, alphasort);
	if (count < 0 && !(errno == ENOENT && globals->has_default_root))
		return fail_errno(err, errno, "list '%s'", globals->root);
	print_all(globals->root, entries, count, self, is_json);
	while (count > 0)
		free(entries[--count]);
	free(entries);
	return 0;
}

const struct command command_state = {
	.name = "state",
	.arguments = "ID",
	.summary = "print the state of a container",
	.options = &command_no_options,
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = state,
};

const struct command command_list = {
	.name = "list",
	.arguments = "[options]",
	.summary = "list the containers",
	.options = &list_table,
	.options_size = sizeof(struct list_options),
	.positional_max = 0,
	.failure_status = 1,
	.run = list,
};
