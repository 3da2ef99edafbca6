/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl logs: the files the shim wrote, rotated ones first; with --follow what comes, until the container ends.
 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/log_files.h"
#include "cli/log_line.h"
#include "proto/message.h"
#include "state/log_config.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
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
	Hydra__V1__LogConfig *before; /* where the log was before its path was changed; NULL: nowhere else */
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

static void count_lines(struct log_reader *self, FILE *file, struct line_count *count)
{
	ssize_t size;

	while ((size = getline(&self->line, &self->capacity, file)) > 0) {
		count->is_continued = !log_line_is_final(&self->printer, self->line, (size_t) size);
		count->lines += !count->is_continued;
	}
}

static uint64_t count_all_lines(struct log_reader *self, const char *path)
{
	struct log_files files = {.path = path};
	struct log_printer printer = self->printer;
	struct line_count count = {.lines = 0};

	while (log_files_next(&files)) {
		self->printer.format = printer.format;
		(void) log_files_is_rotated(&files, &self->printer.format);
		count_lines(self, files.file, &count);
	}
	log_files_close(&files);
	self->printer = printer;
	return count.lines + count.is_continued;
}

static uint64_t count_lines_before(struct log_reader *self)
{
	struct log_printer printer = self->printer;
	uint64_t lines;

	if (self->before == NULL)
		return 0;
	self->printer.format = self->before->format;
	lines = count_all_lines(self, self->before->path);
	self->printer = printer;
	return lines;
}

static int set_tail(struct log_reader *self, const char *path, struct error *err)
{
	uint64_t wanted, lines;

	if (self->options->tail == NULL)
		return 0;
	if (number_parse_u64(self->options->tail, &wanted) < 0)
		return fail_because(err, EINVAL, "option --tail: '%s': expected a number of lines", self->options->tail);
	lines = count_lines_before(self) + count_all_lines(self, path);
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

#define STATS_TIMEOUT_MS 2000
#define FOLLOW_LOOK_MS 500 /* how soon the end of a container that writes nothing is noticed */

/* Reads on, up to the end of the current file as it is now. True: it went on to another file. */
static bool read_on(struct log_reader *self, const struct cli *cli, const char *id, struct log_files *files)
{
	bool has_moved = false;

	while (log_files_has_next(files)) {
		if (files->file != NULL)
			read_lines(self, files->file);
		if (!log_files_next(files))
			return has_moved;
		has_moved = true;
		if (files->number == 0)
			look_up_format(self, cli, id);
		/* asked afterwards: what the record says may be true of a younger file already */
		(void) log_files_is_rotated(files, &self->printer.format);
	}
	read_lines(self, files->file);
	return has_moved;
}

static void follow(struct log_reader *self, const struct cli *cli, const char *id, struct log_files *files)
{
	auto_close int watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char events[4096];

	for (bool ended = false; !ended;) {
		struct pollfd ready = {.fd = watch_fd, .events = POLLIN};
		int r;

		(void) inotify_add_watch(watch_fd, files->path, IN_MODIFY | IN_MOVE_SELF);
		(void) read_on(self, cli, id, files);
		r = poll(&ready, 1, FOLLOW_LOOK_MS);
		while (read(watch_fd, events, sizeof(events)) > 0)
			;
		ended = r == 0 && is_ended(cli, id);
		if (read_on(self, cli, id, files))
			ended = false;
	}
}

/* Nothing is added there any more. */
static void read_before(struct log_reader *self)
{
	struct log_files files = {.path = self->before != NULL ? self->before->path : ""};
	struct log_printer printer = self->printer;

	while (self->before != NULL && log_files_next(&files)) {
		self->printer.format = self->before->format;
		(void) log_files_is_rotated(&files, &self->printer.format);
		read_lines(self, files.file);
	}
	log_files_close(&files);
	self->printer = printer;
}

static int print_log(struct log_reader *self, const struct cli *cli, const char *id, const char *path, struct error *err)
{
	bool has_file = log_format_suffix(self->printer.format) != NULL;
	struct log_files files = {.path = path};
	int r = set_tail(self, path, err);

	if (r < 0)
		return r;
	read_before(self);
	(void) read_on(self, cli, id, &files);
	if (files.file == NULL && has_file)
		return fail_errno(err, ENOENT, "open the log '%s'", path);
	if (!has_file)
		(void) fprintf(stderr, "hydractl: what is not in files is in the host's journal: journalctl CONTAINER_NAME=%s\n", id);
	else if (self->options->follow)
		follow(self, cli, id, &files);
	log_files_close(&files);
	return 0;
}

/* What is missing at the end is said, not passed over. */
static void tell_what_is_missing(const struct cli *cli, const char *id)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message Hydra__V1__StatsResponse *stats = NULL;
	const char *problem = "its log could not be written when it ended";
	struct container_view view;
	struct error ignored;
	uint64_t pending;

	if (cli_view(cli, id, &view, &ignored) < 0)
		return;
	pending = view.is_reachable ? 0 : view.record->log_pending_bytes;
	if (view.is_reachable && cli_call_shim(cli, id, "Stats", &request.base, &hydra__v1__stats_response__descriptor, STATS_TIMEOUT_MS,
					       &stats, &ignored) == 0) {
		problem = stats->log_problem;
		pending = problem[0] != '\0' ? stats->log_spilled_bytes : 0;
	}
	container_view_deinit(&view);
	if (pending > 0)
		(void) fprintf(stderr, "hydractl: %llu further bytes are not in the log yet: %s\n", (unsigned long long) pending, problem);
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
	if (view.record->log_before != NULL && path != NULL && strcmp(view.record->log_before->path, path) != 0)
		reader.before = (Hydra__V1__LogConfig *) (void *) message_copy(&view.record->log_before->base);
	container_view_deinit(&view);
	if (path == NULL || path[0] == '\0')
		return fail_because(err, ENOENT, "container '%s' has no log", rest->positional[0]);
	r = print_log(&reader, cli, rest->positional[0], path, err);
	tell_what_is_missing(cli, rest->positional[0]);
	message_free(reader.before);
	free(reader.line);
	return r;
}

const struct command command_logs = {
	"logs", "[OPTIONS] CONTAINER", "what a container wrote", logs_entries, sizeof(struct logs_options), 1, 1, false, logs};
