/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl logs: the files the shim wrote, rotated ones first; with --follow what comes, until the container ends.
 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
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
	uint64_t skip; /* lines, for --tail */
	char *line;
	size_t capacity;
	bool is_continued; /* the last one printed was a part */
};

/* TIME STREAM TAG TEXT, as the shim wrote it. */
static void print_line(struct log_reader *self, char *line, size_t size)
{
	char *stream = memchr(line, ' ', size);
	char *tag = stream != NULL ? strchr(stream + 1, ' ') : NULL;
	char *text = tag != NULL ? strchr(tag + 1, ' ') : NULL;
	bool is_final = tag != NULL && tag[1] == 'F';
	FILE *out;

	if (text == NULL || size == 0)
		return;
	out = strncmp(stream + 1, "stderr", 6) == 0 ? stderr : stdout;
	text++;
	if (self->options->timestamps && !self->is_continued)
		(void) fprintf(out, "%.*s ", (int) (stream - line), line);
	/* the line's own end, which the shim added */
	(void) fwrite(text, 1, size - (size_t) (text - line) - 1, out);
	if (is_final)
		(void) fputc('\n', out);
	self->is_continued = !is_final;
}

static void read_lines(struct log_reader *self, FILE *file)
{
	ssize_t size;
	off_t at = ftello(file);

	clearerr(file);
	while ((size = getline(&self->line, &self->capacity, file)) > 0) {
		if (self->line[size - 1] != '\n') { /* being written */
			(void) fseeko(file, at, SEEK_SET);
			break;
		}
		at += size;
		if (self->skip > 0)
			self->skip--;
		else
			print_line(self, self->line, (size_t) size);
	}
	(void) fflush(stdout);
}

static uint64_t count_lines(const char *path)
{
	FILE *file = fopen(path, "re");
	uint64_t lines = 0;
	char *line = NULL;
	size_t capacity = 0;

	while (file != NULL && getline(&line, &capacity, file) > 0)
		lines++;
	if (file != NULL)
		(void) fclose(file);
	free(line);
	return lines;
}

static char *rotated_path(const char *path, int number)
{
	return number > 0 ? text_format("%s.%d", path, number) : text_copy(path);
}

static int oldest_number(const char *path)
{
	int number = 0;

	for (;;) {
		auto_free char *older = rotated_path(path, number + 1);

		if (access(older, R_OK) < 0)
			return number;
		number++;
	}
}

static int set_tail(struct log_reader *self, const char *path, int oldest, struct error *err)
{
	uint64_t wanted;
	uint64_t lines = 0;

	if (self->options->tail == NULL)
		return 0;
	if (number_parse_u64(self->options->tail, &wanted) < 0)
		return fail_because(err, EINVAL, "option --tail: '%s': expected a number of lines", self->options->tail);
	for (int number = oldest; number >= 0; number--) {
		auto_free char *file_path = rotated_path(path, number);

		lines += count_lines(file_path);
	}
	self->skip = lines > wanted ? lines - wanted : 0;
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
			(void) inotify_add_watch(watch_fd, path, IN_MODIFY | IN_MOVE_SELF);
			if (*file == NULL)
				return;
		}
	}
}

static int print_log(struct log_reader *self, const struct cli *cli, const char *id, const char *path, struct error *err)
{
	int oldest = oldest_number(path);
	FILE *file = NULL;
	int r = set_tail(self, path, oldest, err);

	for (int number = oldest; number >= 0 && r == 0; number--) {
		auto_free char *file_path = rotated_path(path, number);

		file = fopen(file_path, "re");
		if (file == NULL && number > 0)
			continue; /* rotated away under us */
		if (file == NULL)
			return fail_errno(err, errno, "open the log '%s'", file_path);
		if (number > 0 || !self->options->follow) {
			read_lines(self, file);
			(void) fclose(file);
			file = NULL;
		}
	}
	if (file != NULL) {
		follow(self, cli, id, path, &file);
		if (file != NULL)
			(void) fclose(file);
	}
	return r;
}

static int logs(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	struct log_reader reader = {.options = context};
	auto_free char *path = NULL;
	struct container_view view;
	int r = cli_view(cli, rest->positional[0], &view, err);

	if (r < 0)
		return r;
	if (view.record->log != NULL)
		path = text_copy(view.record->log->path);
	container_view_deinit(&view);
	if (path == NULL || path[0] == '\0')
		return fail_because(err, ENOENT, "container '%s' has no log", rest->positional[0]);
	r = print_log(&reader, cli, rest->positional[0], path, err);
	free(reader.line);
	return r;
}

const struct command command_logs = {
	"logs", "[OPTIONS] CONTAINER", "what a container wrote", logs_entries, sizeof(struct logs_options), 1, 1, false, logs};
