/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra ps: the container's processes, or what the host's ps says about them.
 */
#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/members.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define OUTPUT_LIMIT (64UL << 20)

struct ps_options {
	const char *format;
};

static const struct option_entry entries[] = {
	{'f', "format", "table|json", OPTION_STRING, offsetof(struct ps_options, format), "how to print (table)"},
	{0, NULL},
};
static const struct option_table table = {.entries = entries, .stops_at_positional = true};

struct process_set {
	pid_t *pids;
	size_t count;
};

static void print_json(const struct process_set *set)
{
	(void) printf("[");
	for (size_t i = 0; i < set->count; i++)
		(void) printf("%s%d", i > 0 ? "," : "", set->pids[i]);
	(void) printf("]\n");
}

static bool contains(const struct process_set *set, long pid)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->pids[i] == pid)
			return true;
	return false;
}

/* The number of the column called PID in a header line; -1: there is none. */
static int find_pid_column(const char *header)
{
	auto_free char *copy = text_copy(header);
	char *rest = NULL;
	int column = 0;

	for (char *word = strtok_r(copy, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest), column++)
		if (strcmp(word, "PID") == 0)
			return column;
	return -1;
}

static long number_in_column(const char *line, int column)
{
	for (;; column--) {
		line += strspn(line, " \t");
		if (column == 0)
			return strtol(line, NULL, 10);
		line += strcspn(line, " \t");
	}
}

static int print_matching(char *output, const struct process_set *set, struct error *err)
{
	char *rest = NULL;
	char *line = strtok_r(output, "\n", &rest);
	int column = line != NULL ? find_pid_column(line) : -1;

	if (column < 0)
		return fail_because(err, EINVAL, "the output of ps has no column PID");
	(void) puts(line);
	for (line = strtok_r(NULL, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		if (contains(set, number_in_column(line, column)))
			(void) puts(line);
	return 0;
}

static int run_host_ps(const char *const *argv, char **ret_output, struct error *err)
{
	struct child_spec child = {.path = access("/usr/bin/ps", X_OK) == 0 ? "/usr/bin/ps" : "/bin/ps", .argv = argv};
	int ends[2];
	pid_t pid;
	int status = 0;
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	child.fds[0] = (struct child_fd){ends[1], 1};
	child.fds[1] = (struct child_fd){2, 2};
	child.fd_count = 2;
	r = child_start(&child, &pid, NULL, err);
	close(ends[1]);
	if (r == 0) {
		r = file_read_fd(ends[0], "the output of ps", OUTPUT_LIMIT, ret_output, NULL, err);
		if (child_wait(pid, &status, err) < 0)
			r = err->code;
	}
	close(ends[0]);
	if (r == 0 && status != 0)
		r = fail_because(err, EIO, "ps failed with exit status %d", status);
	return r;
}

static int print_table(const struct process_set *set, const struct option_rest *rest, struct error *err)
{
	const char *argv[64] = {"ps", "-ef", NULL};
	auto_free char *output = NULL;

	for (int i = 1; i < rest->count && i < 63; i++) {
		argv[i] = rest->positional[i];
		argv[i + 1] = NULL;
	}
	if (run_host_ps(argv, &output, err) < 0)
		return err->code;
	return print_matching(output, set, err);
}

static int ps(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct ps_options *self = options;
	bool is_json = self->format != NULL && strcmp(self->format, "json") == 0;
	struct process_set set = {0};
	struct container container;
	int r;

	if (self->format != NULL && !is_json && strcmp(self->format, "table") != 0)
		return fail_because(err, EINVAL, "option --format: '%s' is not table or json", self->format);
	if (container_open(&container, globals->root, rest->positional[0], false, err) < 0)
		return err->code;
	r = members_list(&container, &set.pids, &set.count, err);
	if (r == 0 && is_json)
		print_json(&set);
	else if (r == 0)
		r = print_table(&set, rest, err);
	free(set.pids);
	container_close(&container);
	return r;
}

const struct command command_ps = {
	.name = "ps",
	.arguments = "[options] ID [PS-OPTIONS…]",
	.summary = "list the processes of a container",
	.options = &table,
	.options_size = sizeof(struct ps_options),
	.positional_min = 1,
	.positional_max = -1,
	.failure_status = 1,
	.run = ps,
};
