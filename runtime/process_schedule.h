/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.ioPriority and process.scheduler.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

/* Unknown words and numbers out of range. */
int process_schedule_check(const struct spec_process *process, struct error *err);
/* The processors of the calling process, of the first ones: a bit each. */
unsigned long long process_cpus(void);
/* The calling process, from here on on every processor that its cgroup has. */
void process_unbind_from_cpus(void);
/* The calling process; NULL or "": as it is. */
int process_bind_to_cpus(const char *list, struct error *err);
int process_schedule(const struct spec_process *process, struct error *err);
