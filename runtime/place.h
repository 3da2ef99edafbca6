/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `create`, `run` and `restore` look up before a container is there: its bundle, root file system and cgroups.
 */
#pragma once

#include "base/error.h"
#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/spec.h"
#include "runtime/systemd.h"

#include <limits.h>
#include <stdbool.h>

struct place_request {
	const char *id;
	const char *bundle; /* NULL: the working directory */
	const char *config; /* file name; NULL: config.json of the bundle */
	bool has_cgroups;   /* false: --cgroup-manager disabled */
	bool uses_systemd;  /* --cgroup-manager systemd */
};

struct place {
	char bundle[PATH_MAX];
	char rootfs[PATH_MAX];
	char cgroup_path[CGROUP_PATH_SIZE]; /* "": none of its own, or systemd has not told yet */
	struct systemd_unit unit;           /* name "": none */
	struct systemd_hold hold;
	struct cgroup cgroup;
};

/* Also loads the configuration; the caller deinits ret_spec whatever happens. Changes nothing. */
int place_find(struct place *self, const struct place_request *request, struct spec *ret_spec, struct error *err);
/* With a unit: has systemd make it, and finds and saves where its cgroup is. Until place_release_unit() it has a process of ours. */
int place_start_unit(struct place *self, struct spec *spec, struct container *container, struct error *err);
/* One more process than its limit, while ours is there: of a limit of one. */
int place_make_room(const struct place *self, const struct spec *spec, struct error *err);
/* To be called once, when the container's init is in the unit or all has failed. Does nothing without a unit. */
void place_release_unit(struct place *self, const struct spec *spec);
/* Fills in container's state, which points into spec, and saves it with a copy of the configuration. */
int place_save(const struct place *self, struct spec *spec, struct container *container, struct error *err);
