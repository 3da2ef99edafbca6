/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl logs: the files the shim wrote, rotated ones first; with --follow what comes, until the container ends.
 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/log_line.h"
#include "state/log_config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

struct logs_options {
	bool follow, timestamps;
	const char *tail;
};

static const struct option_entry logs_entries[] = {
	{'f', "follow", NULL, OPTION_FLAG, offsetof(struct logs_options, follow), "go on until the container ends"},
	{'t', "timestamps", NULL, OPTION_FLAG, offsetof(struct logs_options, timestamps), "with the time of each line"},
	{0, "tail", "N", OPTION_STRING, offsetof(struct logs_options, tail), "only the last N lines"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

struct log_reader {
	const struct logs_options *options;
	struct log_printer printer;
	uint64_t skip; /* lines of the application, for --tail */
	char *line;
	size_t capacity;
};

static void read_lines(struct log_reader *self, FILE *file)
{
	ssize_t size;
	off_t at = ftello(file);

	clearerr(file);
	while ((size = getline(&self->line, &self->capacity, file)) > 0) {
		if (self->line[size - 1] != '\n' && !log_line_may_have_no_end(&self->printer)) { /* being written */
			(void) fseeko(file, at, SEEK_SET);
			break;
		}
		at += size;
		if (self->skip > 0)
			self->skip -= log_line_is_final(&self->printer, self->line, (size_t) size);
		else
			log_line_print(&self->printer, self->line, (size_t) size);
	}
	(void) fflush(stdout);
}

struct line_count {
	uint64_t lines;
	bool is_continued; /* the last one has no end yet: it is one more */
};

static void count_lines(struct log_reader *self, FILE *file, void *context)
{
	struct line_count *count = context;
	ssize_t size;

	while ((size = getline(&self->line, &self->capacity, file)) > 0) {
		count->is_continued = !log_line_is_final(&self->printer, self->line, (size_t) size);
		count->lines += !count->is_continued;
	}
}

static void print_lines(struct log_reader *self, FILE *file, void *context)
{
	(void) context;
	read_lines(self, file);
}

typedef void file_visitor(struct log_reader *self, FILE *file, void *context);

static void visit_file(struct log_reader *self, const char *path, file_visitor *visit, void *context)
{
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return; /* rotated away under us */
	visit(self, file, context);
	(void) fclose(file);
}

/* The file with that number, of whatever format. False: there is none. */
static bool find_rotated(const char *path, unsigned number, char buffer[static PATH_MAX], Hydra__V1__LogFormat *ret_format)
{
	for (size_t i = 0; i < log_file_format_count; i++) {
		if (log_rotated_path(buffer, PATH_MAX, path, number, log_file_formats[i]) && access(buffer, R_OK) == 0) {
			*ret_format = log_file_formats[i];
			return true;
		}
	}
	return false;
}

static void visit_rotated(struct log_reader *self, const char *path, file_visitor *visit, void *context)
{
	Hydra__V1__LogFormat current = self->printer.format;
	char rotated[PATH_MAX];
	unsigned number = 1;

	while (find_rotated(path, number, rotated, &self->printer.format))
		number++;
	while (--number > 0) {
		if (find_rotated(path, number, rotated, &self->printer.format))
			visit_file(self, rotated, visit, context);
	}
	self->printer.format = current;
}

static int set_tail(struct log_reader *self, const char *path, struct error *err)
{
	struct line_count count = {.lines = 0};
	uint64_t wanted;

	if (self->options->tail == NULL)
		return 0;
	if (number_parse_u64(self->options->tail, &wanted) < 0)
		return fail_because(err, EINVAL, "option --tail: '%s': expected a number of lines", self->options->tail);
	visit_rotated(self, path, count_lines, &count);
	if (log_format_suffix(self->printer.format) != NULL)
		visit_file(self, path, count_lines, &count);
	count.lines += count.is_continued;
	self->skip = count.lines > wanted ? count.lines - wanted : 0;
	return 0;
}

static bool is_ended(const struct cli *cli, const char *id)
{
	struct container_view view;
	struct error ignored;
	bool ended;

	if (cli_view(cli, id, &view, &ignored) < 0)
		return true;
	ended = !view.is_reachable && strcmp(view.state, "stopped") == 0;
	container_view_deinit(&view);
	return ended;
}

/* The format of the current file may have changed with it. */
static void look_up_format(struct log_reader *self, const struct cli *cli, const char *id)
{
	struct container_view view;
	struct error ignored;

	if (cli_view(cli, id, &view, &ignored) < 0)
		return;
	if (view.record->log != NULL)
		self->printer.format = view.record->log->format;
	container_view_deinit(&view);
}

#define FOLLOW_LOOK_MS 500 /* how soon the end of a container that writes nothing is noticed */

static void follow(struct log_reader *self, const struct cli *cli, const char *id, const char *path, FILE **file)
{
	auto_close int watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char events[4096];

	(void) inotify_add_watch(watch_fd, path, IN_MODIFY | IN_MOVE_SELF);
	for (bool ended = false; !ended;) {
		struct pollfd ready = {.fd = watch_fd, .events = POLLIN};
		struct stat opened, current;
		int r;

		read_lines(self, *file);
		r = poll(&ready, 1, FOLLOW_LOOK_MS);
		while (read(watch_fd, events, sizeof(events)) > 0)
			;
		ended = r == 0 && is_ended(cli, id);
		read_lines(self, *file);
		/* rotated: the rest of the old file is read, go on with the new one */
		if (fstat(fileno(*file), &opened) == 0 && stat(path, &current) == 0 && opened.st_ino != current.st_ino) {
			(void) fclose(*file);
			*file = fopen(path, "re");
			look_up_format(self, cli, id);
			(void) inotify_add_watch(watch_fd, path, IN_MODIFY | IN_MOVE_SELF);
			if (*file == NULL)
				return;
		}
	}
}

static int print_log(struct log_reader *self, const struct cli *cli, const char *id, const char *path, struct error *err)
{
	FILE *file;
	int r = set_tail(self, path, err);

	if (r < 0)
		return r;
	visit_rotated(self, path, print_lines, NULL);
	if (log_format_suffix(self->printer.format) == NULL) {
		(void) fprintf(stderr, "hydractl: what is not in files is in the host's journal: journalctl CONTAINER_NAME=%s\n", id);
		return 0;
	}
	file = fopen(path, "re");
	if (file == NULL)
		return fail_errno(err, errno, "open the log '%s'", path);
	read_lines(self, file);
	if (self->options->follow)
		follow(self, cli, id, path, &file);
	if (file != NULL)
		(void) fclose(file);
	return 0;
}

static int logs(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	struct log_reader reader = {.options = context};
	auto_free char *path = NULL;
	struct container_view view;
	int r = cli_view(cli, rest->positional[0], &view, err);

	if (r < 0)
		return r;
	if (view.record->log != NULL) {
		path = text_copy(view.record->log->path);
		reader.printer = (struct log_printer){.format = view.record->log->format, .with_time = reader.options->timestamps};
	}
	container_view_deinit(&view);
	if (path == NULL || path[0] == '\0')
		return fail_because(err, ENOENT, "container '%s' has no log", rest->positional[0]);
	r = print_log(&reader, cli, rest->positional[0], path, err);
	free(reader.line);
	return r;
}

const struct command command_logs = {
	"logs", "[OPTIONS] CONTAINER", "what a container wrote", logs_entries, sizeof(struct logs_options), 1, 1, false, logs};
