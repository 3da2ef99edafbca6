/* SPDX-License-Identifier: Apache-2.0 */
#include "state/migration_file.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE_LIMIT (16U << 20)
#define TASKS_MAX  64U
#define TASKS_SIZE 8192U

char *migration_folder(const char *root)
{
	struct error ignored;
	char *path = text_format("%s/.migrations", root);

	(void) dir_make_all(path, 0700, &ignored);
	return path;
}

static bool is_over(int folder_fd, const char *name)
{
	auto_close int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && !file_is_locked(fd);
}

/* Each new one makes room for itself. */
static void forget_oldest(const char *folder)
{
	auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		dir_forget_oldest(fd, "", MIGRATION_FILES_KEPT, is_over);
}

/* It gets its name when it is locked: nobody finds one that seems to be left by programs that were killed. */
int migration_file_make(const char *root, const char *id, int *ret_fd, struct error *err)
{
	auto_free char *folder = migration_folder(root);
	auto_free char *path = text_format("%s/%s", folder, id);
	auto_free char *made = text_format("%s/.%s", folder, id);
	auto_close int fd = FD_NONE;
	int r = id_check("migration", id, err);

	if (r < 0)
		return r;
	fd = open(made, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : file_lock_fd(fd, false);
	if (r == 0 && renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_NOREPLACE) < 0) {
		r = -errno;
		(void) unlink(made);
	}
	if (r < 0)
		return fail_errno(err, -r, "make '%s'", path);
	*ret_fd = take_fd(&fd);
	forget_oldest(folder);
	return 0;
}

char *progress_safe(const char *text)
{
	char *safe = text_copy(text);

	for (char *at = safe; *at != '\0'; at++) {
		if (*at == '"' || *at == '\\' || (unsigned char) *at < 0x20)
			*at = '\'';
	}
	return safe;
}

static const char *value_of(const char *line, const char *name)
{
	char key[64];
	const char *at;

	if (!text_fit(key, sizeof(key), "\"%s\":", name))
		return NULL;
	at = strstr(line, key);
	return at != NULL ? at + strlen(key) : NULL;
}

bool progress_text(const char *line, const char *name, char *buffer, size_t size)
{
	const char *from = value_of(line, name);
	size_t used = 0;

	if (from == NULL || *from != '"')
		return false;
	for (from++; *from != '\0' && *from != '"' && used + 1 < size; from++) {
		if (*from == '\\' && from[1] != '\0') {
			from++;
			if (*from == 'u' && strlen(from) > 4) {
				from += 4;
				buffer[used++] = ' ';
				continue;
			}
		}
		buffer[used++] = *from;
	}
	buffer[used] = '\0';
	return true;
}

bool progress_number(const char *line, const char *name, unsigned long long *ret_value)
{
	const char *from = value_of(line, name);
	char *end;
	unsigned long long value;

	if (from == NULL || *from < '0' || *from > '9')
		return false;
	errno = 0;
	value = strtoull(from, &end, 10);
	if (errno != 0)
		return false;
	*ret_value = value;
	return true;
}

static uint64_t number(const char *line, const char *name, uint64_t otherwise)
{
	unsigned long long value;

	return progress_number(line, name, &value) ? value : otherwise;
}

/* From the order to freeze until the source hears that the tasks run at the target: no task ran for longer. */
static void take_time(Hydra__V1__MigrationStatus *status, const char *phase, const char *line)
{
	uint64_t time_ns = number(line, "time_ns", 0);

	if (strcmp(phase, status->phase) == 0)
		return;
	if (strcmp(phase, "freeze") == 0)
		status->frozen_ns = time_ns;
	if (strcmp(phase, "paging") == 0 && status->running_ns == 0) {
		status->running_ns = time_ns;
		if (status->frozen_ns > 0)
			status->downtime_us = (time_ns - status->frozen_ns) / 1000;
	}
}

/* What is known while the lines are read one after the other. */
struct reading {
	Hydra__V1__MigrationStatus *status;
	uint64_t since; /* the phase in which something newer stands is the last one that is read */
	bool is_whole;  /* all lines were read */
	pid_t pid;
	uint64_t bytes_sent, faults; /* as the last line says */
};

/* A worker that goes on where another one died counts from 0. */
static void add_growth(uint64_t *sum, uint64_t *last, const char *line, const char *name)
{
	uint64_t now = number(line, name, *last);

	*sum += now >= *last ? now - *last : now;
	*last = now;
}

static void take_counters(struct reading *self, const char *line)
{
	uint64_t time_ns = number(line, "time_ns", self->status->time_ns);

	add_growth(&self->status->bytes_sent, &self->bytes_sent, line, "bytes_sent");
	add_growth(&self->status->faults, &self->faults, line, "faults");
	if (self->status->started_ns == 0)
		self->status->started_ns = time_ns;
	self->status->time_ns = time_ns;
}

/* "PID/STALLS/US/MAX_US PID/..." */
static void take_tasks(Hydra__V1__MigrationStatus *status, const char *line)
{
	char text[TASKS_SIZE], *rest = NULL;

	if (!progress_text(line, "tasks", text, sizeof(text)))
		return;
	for (char *word = strtok_r(text, " ", &rest); word != NULL && status->n_tasks < TASKS_MAX; word = strtok_r(NULL, " ", &rest)) {
		Hydra__V1__MigrationTask **grown = reallocarray(status->tasks, status->n_tasks + 1, sizeof(Hydra__V1__MigrationTask *));
		Hydra__V1__MigrationTask *task = malloc(sizeof(*task));
		unsigned long long stalls, stall_us, max_us;
		int pid;

		if (grown != NULL)
			status->tasks = grown;
		if (grown == NULL || task == NULL || sscanf(word, "%d/%llu/%llu/%llu", &pid, &stalls, &stall_us, &max_us) != 4) {
			free(task);
			return;
		}
		hydra__v1__migration_task__init(task);
		task->pid = pid;
		task->stalls = stalls;
		task->stall_us = stall_us;
		task->stall_max_us = max_us;
		status->tasks[status->n_tasks++] = task;
	}
}

/* At the end. */
static void take_sums(Hydra__V1__MigrationStatus *status, const char *line)
{
	status->downtime_us = number(line, "downtime_us", status->downtime_us);
	status->lazy_us = number(line, "lazy_us", status->lazy_us);
	status->stalls = number(line, "stalls", status->stalls);
	status->stall_us = number(line, "stall_us", status->stall_us);
	status->stall_max_us = number(line, "stall_max_us", status->stall_max_us);
	status->is_arrival = status->is_arrival || strstr(line, "\"is_arrival\":true") != NULL;
	if (status->n_tasks == 0)
		take_tasks(status, line);
}

static void take_names(Hydra__V1__MigrationStatus *status, const char *line)
{
	const struct {
		const char *name;
		char **field;
	} names[] = {{"container", &status->container_id}, {"container_namespace", &status->namespace_}, {"peer", &status->peer},
		     {"mode", &status->mode}};
	char text[512];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (progress_text(line, names[i].name, text, sizeof(text)))
			(void) message_set_string(names[i].field, text);
	}
}

static void take_line(struct reading *self, const char *line)
{
	Hydra__V1__MigrationStatus *status = self->status;
	char text[512];

	status->sequence++;
	if (progress_text(line, "phase", text, sizeof(text))) {
		take_time(status, text, line);
		(void) message_set_string(&status->phase, text);
	}
	if (progress_text(line, "message", text, sizeof(text)) && text[0] != '\0')
		(void) message_set_string(&status->message, text);
	take_names(status, line);
	take_counters(self, line);
	take_sums(status, line);
	status->bytes_done = number(line, "bytes_done", status->bytes_done);
	status->bytes_total = number(line, "bytes_total", status->bytes_total);
	status->pages_done = number(line, "pages_done", status->pages_done);
	status->pages_total = number(line, "pages_total", status->pages_total);
	status->eta_ms = number(line, "eta_ms", 0);
	self->pid = (pid_t) number(line, "setup_pid", (uint64_t) self->pid);
	status->is_done = strstr(line, "\"is_final\":true") != NULL;
	status->ended_ns = status->is_done ? status->time_ns : 0;
	status->has_failed = status->is_done && strstr(line, "\"has_failed\":true") != NULL;
}

static bool is_beyond(const struct reading *self, const char *line)
{
	char phase[512];

	return self->status->sequence > self->since && progress_text(line, "phase", phase, sizeof(phase)) && strcmp(phase, self->status->phase) != 0;
}

static int read_lines(int fd, const char *path, struct reading *reading, struct error *err)
{
	auto_free char *data = NULL;
	char *rest;
	size_t size;
	int r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : file_read_fd(fd, path, SIZE_LIMIT, &data, &size, err);

	if (r < 0)
		return r;
	rest = data;
	for (char *end = strchr(rest, '\n'); end != NULL; end = strchr(rest, '\n')) {
		*end = '\0';
		if (is_beyond(reading, rest))
			return 0;
		take_line(reading, rest);
		rest = end + 1;
	}
	reading->is_whole = true;
	return 0;
}

/* Nobody writes any more, and the last line is no end. */
static void conclude_for_dead(Hydra__V1__MigrationStatus *status)
{
	static const char *const perhaps_here[] = {"prepared", "committed", "paging", "source-lost", NULL};
	bool is_complete = strcmp(status->phase, "done") == 0;

	status->sequence++;
	status->is_done = true;
	status->ended_ns = status->time_ns;
	if (is_complete)
		return;
	if (status->is_arrival && text_is_one_of(status->phase, perhaps_here)) {
		(void) message_set_string(&status->message, "who watched it was killed when it may have been handed over: ps tells whether the container is here");
		return;
	}
	status->has_failed = true;
	(void) message_set_string(&status->phase, "failed");
	(void) message_set_string(&status->message, "the programs that did it were killed");
}

static int read_file(struct reading *self, const char *root, const char *id, struct error *err)
{
	auto_free char *path = text_format("%s/.migrations/%s", root, id);
	auto_close int fd = FD_NONE;
	bool is_alive;
	int r = id_check("migration", id, err);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? fail_because(err, ENOENT, "no migration '%s'", id) : fail_errno(err, errno, "open '%s'", path);
	is_alive = file_is_locked(fd); /* before reading: what a living one writes last is then read */
	r = read_lines(fd, path, self, err);
	if (r < 0)
		return r;
	if (!self->is_whole) { /* what stands there as the end was not the last word */
		self->status->is_done = self->status->has_failed = false;
		self->status->ended_ns = 0;
	} else if (!is_alive && !self->status->is_done && self->status->sequence > 0) {
		conclude_for_dead(self->status);
	}
	return 0;
}

static int read_until(struct reading *self, const char *root, const char *id, Hydra__V1__MigrationStatus **ret_status, struct error *err)
{
	auto_message Hydra__V1__MigrationStatus *status = malloc(sizeof(*status));
	int r;

	if (status == NULL)
		return fail_errno(err, ENOMEM, "read migration '%s'", id);
	hydra__v1__migration_status__init(status);
	(void) message_set_string(&status->id, id);
	self->status = status;
	r = read_file(self, root, id, err);
	if (r == 0)
		*ret_status = take_ptr(&status);
	return r;
}

int migration_file_read(const char *root, const char *id, Hydra__V1__MigrationStatus **ret_status, pid_t *ret_pid,
			struct error *err)
{
	struct reading reading = {.since = UINT64_MAX};
	int r = read_until(&reading, root, id, ret_status, err);

	if (r == 0 && ret_pid != NULL)
		*ret_pid = reading.pid;
	return r;
}

int migration_file_read_next(const char *root, const char *id, uint64_t since, Hydra__V1__MigrationStatus **ret_status, struct error *err)
{
	struct reading reading = {.since = since};

	return read_until(&reading, root, id, ret_status, err);
}
