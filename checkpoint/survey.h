/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for what cannot be checkpointed, before anything is stopped.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/proc.h"

/* -EOPNOTSUPP names the task, its descriptor and the object that CRIU cannot save. A clean survey promises nothing:
 * the container runs on while we look. */
int survey_tasks(const struct proc_tasks *tasks, struct error *err);

/* The verdict on one target of /proc/PID/fd: NULL when it can be saved, else why not. */
const char *survey_link(const char *link);
