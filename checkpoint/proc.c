/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading /proc. The text is the kernel's, but container processes choose parts of it (names of mounts and
 * programs), so nothing here trusts a length or a count.
 */
#include "checkpoint/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <dirent.h>

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#define PROC_FILE_MAX (16U << 20)
#define STEPS_MAX 4096

/* \040 and the like; in place. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text != '\0'; text++) {
		bool is_octal = text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
				text[2] <= '7' && text[3] >= '0' && text[3] <= '7';

		if (is_octal) {
			*out++ = (char) ((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
}

static char *next_field(char **rest)
{
	char *field = strsep(rest, " ");

	return field != NULL ? field : (char *) (uintptr_t) "";
}

static int parse_line(struct proc_mount *self, char *line)
{
	char *rest = line, *options, *field;

	if (number_parse_int(next_field(&rest), 0, 1 << 30, &self->id) < 0 ||
	    number_parse_int(next_field(&rest), 0, 1 << 30, &self->parent_id) < 0 ||
	    !text_fit(self->device, sizeof(self->device), "%s", next_field(&rest)))
		return -EPROTO;
	self->root = text_copy(next_field(&rest));
	self->mountpoint = text_copy(next_field(&rest));
	options = next_field(&rest);
	self->is_writable = strncmp(options, "rw", 2) == 0;
	do {
		field = strsep(&rest, " ");
		self->is_shared |= field != NULL && strchr(field, ':') != NULL; /* shared:, master:, propagate_from: */
	} while (field != NULL && strcmp(field, "-") != 0);
	self->fstype = text_copy(next_field(&rest));
	self->source = text_copy(next_field(&rest));
	self->super_options = text_copy(next_field(&rest));
	unescape(self->root);
	unescape(self->mountpoint);
	unescape(self->source);
	return self->mountpoint[0] == '/' && self->fstype[0] != '\0' ? 0 : -EPROTO;
}

int proc_mounts_parse(struct proc_mounts *self, char *text, struct error *err)
{
	*self = (struct proc_mounts){0};
	for (char *line = strsep(&text, "\n"); line != NULL; line = strsep(&text, "\n")) {
		struct proc_mount *grown;

		if (*line == '\0')
			continue;
		grown = reallocarray(self->items, self->count + 1, sizeof(*grown));
		if (grown == NULL)
			return fail_errno(err, ENOMEM, "read mounts");
		self->items = grown;
		self->items[self->count] = (struct proc_mount){0};
		self->count++;
		if (parse_line(&self->items[self->count - 1], line) < 0) {
			proc_mounts_deinit(self);
			return fail_because(err, EPROTO, "a line of mountinfo is not understood");
		}
	}
	return 0;
}

int proc_mounts_read(struct proc_mounts *self, pid_t pid, struct error *err)
{
	auto_free char *text = NULL;
	auto_free char *path = pid > 0 ? text_format("/proc/%d/mountinfo", (int) pid) : text_copy("/proc/self/mountinfo");
	int r = file_read(AT_FDCWD, path, PROC_FILE_MAX, &text, NULL, err);

	return r < 0 ? r : proc_mounts_parse(self, text, err);
}

void proc_mounts_deinit(struct proc_mounts *self)
{
	for (size_t i = 0; i < self->count; i++) {
		free(self->items[i].root);
		free(self->items[i].mountpoint);
		free(self->items[i].fstype);
		free(self->items[i].source);
		free(self->items[i].super_options);
	}
	free(self->items);
	*self = (struct proc_mounts){0};
}

static char *status_line(pid_t pid, const char *key)
{
	struct error ignored;
	auto_free char *text = NULL;
	auto_free char *path = text_format("/proc/%d/status", (int) pid);
	char *line;

	if (file_read(AT_FDCWD, path, 65536, &text, NULL, &ignored) < 0)
		return NULL;
	line = strstr(text, key);
	if (line == NULL)
		return NULL;
	line += strlen(key);
	line[strcspn(line, "\n")] = '\0';
	return text_copy(line);
}

int proc_namespace_depth(pid_t pid)
{
	auto_free char *line = status_line(pid, "\nNSpid:");
	int depth = 0;

	for (char *rest = line, *field; rest != NULL && (field = strsep(&rest, "\t ")) != NULL;)
		depth += *field != '\0';
	return depth;
}

pid_t proc_virtual_pid(pid_t pid, int depth)
{
	auto_free char *line = status_line(pid, "\nNSpid:");
	int level = 0, value = 0;

	for (char *rest = line, *field; rest != NULL && (field = strsep(&rest, "\t ")) != NULL;) {
		if (*field == '\0' || ++level != depth)
			continue;
		return number_parse_int(field, 1, 1 << 30, &value) < 0 ? 0 : value;
	}
	return 0;
}

void proc_name(pid_t pid, char *ret_name, size_t size)
{
	auto_free char *line = status_line(pid, "Name:\t");

	if (!text_fit(ret_name, size, "%s", line != NULL ? line : "?"))
		(void) text_fit(ret_name, size, "?");
}

static int add_task(struct proc_tasks *self, pid_t pid, int depth, struct error *err)
{
	struct proc_task *grown;

	if (self->count >= PROC_TASKS_MAX)
		return fail_because(err, E2BIG, "more than %d tasks", PROC_TASKS_MAX);
	grown = reallocarray(self->items, self->count + 1, sizeof(*grown));
	if (grown == NULL)
		return fail_errno(err, ENOMEM, "list tasks");
	self->items = grown;
	self->items[self->count++] = (struct proc_task){.pid = pid, .virtual_pid = proc_virtual_pid(pid, depth)};
	return 0;
}

/* Children are listed by the thread that made them. */
static int add_children(struct proc_tasks *self, pid_t parent, int depth, struct error *err)
{
	auto_free char *folder = text_format("/proc/%d/task", (int) parent);
	DIR *threads = opendir(folder);
	struct dirent *entry;
	int r = 0;

	while (threads != NULL && r >= 0 && (entry = readdir(threads)) != NULL) {
		auto_free char *path = text_format("%s/%s/children", folder, entry->d_name);
		auto_free char *list = NULL;
		struct error ignored;

		if (entry->d_name[0] == '.' || file_read(AT_FDCWD, path, PROC_FILE_MAX, &list, NULL, &ignored) < 0)
			continue;
		for (char *rest = list, *field; r >= 0 && (field = strsep(&rest, " \n")) != NULL;) {
			int pid;

			if (number_parse_int(field, 1, 1 << 30, &pid) == 0)
				r = add_task(self, pid, depth, err);
		}
	}
	if (threads != NULL)
		(void) closedir(threads);
	return r;
}

/* 0: gone. */
static ino_t pid_namespace_of(pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/ns/pid", (int) pid);
	struct stat found;

	return stat(path, &found) < 0 ? 0 : found.st_ino;
}

static pid_t parent_of(pid_t pid)
{
	auto_free char *line = status_line(pid, "\nPPid:\t");
	int parent;

	return line == NULL || number_parse_int(line, 1, 1 << 30, &parent) < 0 ? 0 : parent;
}

/* Living tasks fork and exit while we look, so no list of them is complete. Orphans fall to init; only the line of
 * parents of a process that was brought in from outside leads out of the namespace. Where a parent went away between
 * two looks, the line is followed again. */
static bool is_stranger(pid_t pid, pid_t init, ino_t container)
{
	pid_t at = pid;

	for (int steps = 0; at != init && steps < STEPS_MAX; steps++) {
		pid_t parent = parent_of(at);
		ino_t found = pid_namespace_of(parent);

		if (found == container)
			at = parent;
		else if (found != 0 && parent_of(at) == parent && pid_namespace_of(at) == container)
			return true;
		else if (pid_namespace_of(pid) != container)
			return false;
		else
			at = pid;
	}
	return false;
}

int proc_refuse_strangers(pid_t init, struct error *err)
{
	ino_t container = pid_namespace_of(init);
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	int r = 0;

	if (folder == NULL || container == 0)
		r = fail_because(err, ESRCH, "process %d does not run", (int) init);
	while (r == 0 && (entry = readdir(folder)) != NULL) {
		char name[64];
		int pid;

		if (number_parse_int(entry->d_name, 1, 1 << 30, &pid) < 0 || pid_namespace_of(pid) != container ||
		    !is_stranger(pid, init, container))
			continue;
		proc_name(pid, name, sizeof(name));
		r = fail_because(err, EBUSY, "process %d (%s) runs in the container without descending from its init "
				 "(an exec session?); it could not be moved", pid, name);
	}
	if (folder != NULL)
		(void) closedir(folder);
	return r;
}

int proc_tasks_read(struct proc_tasks *self, pid_t init, struct error *err)
{
	int depth = proc_namespace_depth(init);
	int r;

	*self = (struct proc_tasks){0};
	if (depth == 0)
		return fail_because(err, ESRCH, "process %d does not run", (int) init);
	r = add_task(self, init, depth, err);
	for (size_t i = 0; r == 0 && i < self->count; i++)
		r = add_children(self, self->items[i].pid, depth, err);
	if (r < 0)
		proc_tasks_deinit(self);
	return r;
}

void proc_tasks_deinit(struct proc_tasks *self)
{
	free(self->items);
	*self = (struct proc_tasks){0};
}

unsigned long long proc_memory(const struct proc_tasks *tasks)
{
	unsigned long long total = 0;

	for (size_t i = 0; i < tasks->count; i++) {
		auto_free char *line = status_line(tasks->items[i].pid, "\nRssAnon:");

		if (line != NULL)
			total += strtoull(line, NULL, 10) * 1024;
	}
	return total;
}

unsigned long long proc_hugetlb(const struct proc_tasks *tasks)
{
	unsigned long long most = 0;

	for (size_t i = 0; i < tasks->count; i++) {
		auto_free char *line = status_line(tasks->items[i].pid, "\nHugetlbPages:");
		unsigned long long bytes = line != NULL ? strtoull(line, NULL, 10) * 1024 : 0;

		most = bytes > most ? bytes : most;
	}
	return most;
}
