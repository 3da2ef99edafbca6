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
/* SIGCHLD: handles the end of every task that has ended. */
void task_reap_all(struct shim *shim);
bool task_owns(const struct shim *shim, pid_t pid);
