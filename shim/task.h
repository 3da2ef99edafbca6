/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short programs the shim lets work for it (hydra, hydra-checkpoint): started, and heard of again when they end.
 */
#pragma once

#include "base/child.h"

struct shim;

/* exit_status: 0..255, or 128 + signal. */
typedef void task_done(struct shim *shim, int exit_status, void *context);

int task_start(struct shim *shim, const struct child_spec *spec, task_done *done, void *context, struct error *err);
/* True while one runs: a child we do not know may be one that it just made, so nobody is reaped blindly. */
bool task_is_running(const struct shim *shim);
/* Handles the end of one that has ended; false: none has. */
bool tasks_check(struct shim *shim);
/* Handles the end of pid if it is a task's. */
bool task_reap(struct shim *shim, pid_t pid);
