/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving the container's cgroup (v2) to the root of its user namespace, so that a service manager in there can work.
 */
#pragma once

#include "runtime/cgroup.h"

/* True when somebody inside could use it: a new user and cgroup namespace, and a cgroup mount that is not read-only. */
bool cgroup_delegate_is_wanted(const struct spec *spec);
/* Owner of the folder and of the files that the kernel names in /sys/kernel/cgroup/delegate becomes the container's root. */
int cgroup_delegate(const struct cgroup *self, const struct spec *spec, struct error *err);
