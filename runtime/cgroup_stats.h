/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container has used, in the shape of `runc events`.
 */
#pragma once

#include "runtime/cgroup.h"

#include <stdint.h>

/* One compact object with type "stats"; what the host does not count is 0. The caller frees. */
char *cgroup_stats_json(const struct cgroup *cgroup, const char *id);
/* How many processes the container has lost to the out-of-memory killer. */
uint64_t cgroup_oom_kills(const struct cgroup *cgroup);
