/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the cgroup of a container, v1, v2 or hybrid: only looked at here, changed by the runtime.
 */
#pragma once

#include "shim.pb-c.h"

#include <stdbool.h>
#include <sys/types.h>

struct cgroup_paths {
	char memory[512]; /* folder; "" when the host has none */
	char cpu[512];
	char pids[512];
	bool is_v2;
};

/* Of the process pid, which must not have ended: v1 shows the end of a process as the root group. */
void cgroup_find(pid_t pid, struct cgroup_paths *ret_paths);
/* 0 when it can't be read. */
uint64_t cgroup_oom_kills(const struct cgroup_paths *paths);
void cgroup_stats(const struct cgroup_paths *paths, Hydra__V1__StatsResponse *ret_stats);
