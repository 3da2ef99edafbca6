/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a container of an ordinary user has its cgroup: in one that was handed over to the user, or nowhere.
 */
#pragma once

#include "runtime/cgroup.h"

/* "" when there is no such cgroup and nobody asked for one, by a path or a limit (device rules do not count). Returns 1 when the
 * path says by itself where it is to be: cgroup_path() knows. */
int cgroup_rootless_path(const char *wanted, const char *id, const struct spec_resources *resources,
			 char ret_path[static CGROUP_PATH_SIZE], struct error *err);
