/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where our cgroups are.
 *
 * Under systemd hydra-containers.service delegates a part of the tree to us that no stop, restart or kill of another unit
 * reaches (docs/adr/0009-containers-have-a-unit-of-their-own.md): containers live below its folder "containers", and who looks after
 * them in its folder "supervisors". Without that unit, or with $HYDRA_CGROUP, containers live below /hydra or what the
 * variable names, and supervisors stay where who started them is.
 */
#pragma once

/* Path of the cgroup that those of all containers are below. */
const char *cgroup_parent(void);

#define SUPERVISOR_CGROUPS_MAX 3

struct supervisor_cgroups {
	char dirs[SUPERVISOR_CGROUPS_MAX][96];
	const char *list[SUPERVISOR_CGROUPS_MAX + 1]; /* as child_spec takes it; ends with NULL, may be empty */
};

/* The folders that a shim or worker moves into when it begins; they exist. */
void supervisor_cgroups_find(struct supervisor_cgroups *ret_self);
