/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for what cannot be checkpointed, before anything is stopped.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/problems.h"
#include "checkpoint/proc.h"

/* Everything in the way, each with the task, its descriptor and the object that CRIU cannot save. That there is nothing promises
 * nothing: the container runs on while we look. strangers_end: processes from outside will be ended before it is meant. */
void survey_collect(const struct proc_tasks *tasks, struct problems *problems, bool strangers_end);
/* The same as one failure, -EOPNOTSUPP. */
int survey_tasks(const struct proc_tasks *tasks, struct error *err);

/* The verdict on one target of /proc/PID/fd: NULL when it can be saved, else why not. */
const char *survey_link(const char *link);
/* The verdict on one line of /proc/PID/maps, up to the end of the line. */
const char *survey_map(const char *line);

/* Parts of survey_collect(): survey_sockets.c, survey_tasks.c */
struct survey {
	const struct proc_tasks *tasks;
	struct problems *problems;
	bool strangers_end;
	struct proc_mounts mounts; /* as the task sees them whose turn it is */
	unsigned long long *sockets; /* inodes, of all tasks */
	size_t socket_count;
};

/* Which sockets the tasks have, so that it is known which peers are outside. */
void survey_sockets_begin(struct survey *self);
void survey_sockets_end(struct survey *self);
/* A descriptor that is a socket. */
void survey_socket(struct survey *self, pid_t pid, int number);
/* What a task is, apart from its descriptors and memory. */
void survey_task(struct survey *self, const struct proc_task *task);
