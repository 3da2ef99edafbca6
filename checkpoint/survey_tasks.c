/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task is: traced, of a nested namespace, on a terminal in a way that CRIU can't put together again.
 */
#include "checkpoint/survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#define TTY_MAJOR 5U
#define DESCRIPTORS_MAX 65536

static char *read_text(const char *path)
{
	struct error ignored;
	char *text = NULL;

	return file_read(AT_FDCWD, path, 65536, &text, NULL, &ignored) < 0 ? NULL : text;
}

static int number_behind(const char *text, const char *key)
{
	const char *at = text != NULL ? strstr(text, key) : NULL;

	return at != NULL ? (int) strtol(at + strlen(key), NULL, 10) : 0;
}

static void survey_tracer(struct survey *self, pid_t pid, const char *name)
{
	auto_free char *folder = text_format("/proc/%d/task", (int) pid);
	DIR *threads = opendir(folder);
	struct dirent *entry;

	while (threads != NULL && (entry = readdir(threads)) != NULL) {
		auto_free char *path = text_format("%s/%s/status", folder, entry->d_name);
		auto_free char *status = entry->d_name[0] != '.' ? read_text(path) : NULL;
		int tracer = number_behind(status, "\nTracerPid:\t");
		auto_free char *object = text_format("process %d (%s)", (int) pid, name);
		char tracer_name[64];

		if (tracer <= 0)
			continue;
		proc_name(tracer, tracer_name, sizeof(tracer_name));
		problems_add(self->problems, "end the debugger", object, "it is traced by process %d (%s)", tracer, tracer_name);
	}
	if (threads != NULL)
		(void) closedir(threads);
}

static void survey_namespace(struct survey *self, const struct proc_task *task, const char *name)
{
	auto_free char *ours = text_format("/proc/%d/ns/pid", (int) self->tasks->items[0].pid);
	auto_free char *theirs = text_format("/proc/%d/ns/pid", (int) task->pid);
	auto_free char *object = text_format("process %d (%s)", (int) task->pid, name);
	struct stat here, there;

	if (stat(ours, &here) == 0 && stat(theirs, &there) == 0 && here.st_ino != there.st_ino)
		problems_add(self->problems, "end the container that runs inside this one", object,
			     "it is in a pid namespace of its own inside the container");
}

static bool has_tty_open(pid_t pid)
{
	for (int number = 0; number < 256; number++) {
		auto_free char *path = text_format("/proc/%d/fd/%d", (int) pid, number);
		struct stat status;

		if (stat(path, &status) == 0 && S_ISCHR(status.st_mode) && major(status.st_rdev) == TTY_MAJOR &&
		    minor(status.st_rdev) == 0)
			return true;
	}
	return false;
}

/* stat: pid (name) state ppid pgrp session tty_nr tpgid */
static void survey_terminal(struct survey *self, pid_t pid, const char *name)
{
	auto_free char *path = text_format("/proc/%d/stat", (int) pid);
	auto_free char *text = read_text(path);
	const char *fields = text != NULL ? strrchr(text, ')') : NULL;
	auto_free char *object = text_format("process %d (%s)", (int) pid, name);
	int group = 0, session = 0, terminal = 0, foreground = 0;
	char state;

	if (fields == NULL || sscanf(fields + 1, " %c %*d %d %d %d %d", &state, &group, &session, &terminal, &foreground) != 5)
		return;
	if (terminal != 0 && foreground > 0 && foreground != group && has_tty_open(pid))
		problems_add(self->problems, "wait until the job is done, or end it", object,
			     "it has /dev/tty open while a job (process group %d) is in the foreground", foreground);
}

void survey_task(struct survey *self, const struct proc_task *task)
{
	char name[64];
	struct error err;

	if (task == &self->tasks->items[0] && task->virtual_pid == 1 && !self->strangers_end && proc_refuse_strangers(task->pid, &err) < 0)
		problems_add(self->problems, "end it, or see hydractl migrate --exec-sessions", "a process from outside", "%s", err.message);
	proc_name(task->pid, name, sizeof(name));
	survey_tracer(self, task->pid, name);
	survey_namespace(self, task, name);
	survey_terminal(self, task->pid, name);
}
