/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits of a process (process.rlimits).
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

/* Refuses unknown names, doubles, and soft limits above the hard one. */
int rlimits_check(const struct spec_process *process, struct error *err);
/* Sets them on pid; done by the parent, which may have a privilege that the container's init has not. */
int rlimits_apply(const struct spec_process *process, pid_t pid, struct error *err);
