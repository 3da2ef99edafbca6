/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd unit that linux.cgroupsPath asks for. Pure.
 */
#pragma once

#include "base/error.h"
#include "runtime/cgroup.h"

#include <stdbool.h>

#define SYSTEMD_UNIT_SIZE 256 /* systemd's limit and a NUL */

struct systemd_unit {
	char name[SYSTEMD_UNIT_SIZE];  /* "libpod-web.scope"; "": no unit */
	char slice[SYSTEMD_UNIT_SIZE]; /* the one it is in; "" when the unit is a slice, whose name says it */
	bool is_slice;
};

/* From "slice:prefix:name": the scope prefix-name.scope, or the slice `name` when it ends so. NULL or "": hydra-ID.scope in the
 * slice that manager puts containers in, which is also what an empty slice means. */
int systemd_unit_init(struct systemd_unit *self, const char *cgroups_path, const char *id, bool is_user, struct error *err);

/* Where the manager puts it, below its own cgroup: "/a.slice/a-b.slice/web.scope". */
int systemd_unit_path(const struct systemd_unit *self, char ret_path[static CGROUP_PATH_SIZE], struct error *err);
