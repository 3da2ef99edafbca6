/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `create`, `run` and `restore` look up before a container is there: its bundle, root file system and cgroups.
 */
#pragma once

#include "base/error.h"
#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/spec.h"

#include <limits.h>
#include <stdbool.h>

struct place_request {
	const char *id;
	const char *bundle; /* NULL: the working directory */
	const char *config; /* file name; NULL: config.json of the bundle */
	bool has_cgroups;   /* false: --cgroup-manager disabled */
};

struct place {
	char bundle[PATH_MAX];
	char rootfs[PATH_MAX];
	char cgroup_path[CGROUP_PATH_SIZE]; /* "": none of its own */
	struct cgroup cgroup;
};

/* Also loads the configuration; the caller deinits ret_spec whatever happens. Changes nothing. */
int place_find(struct place *self, const struct place_request *request, struct spec *ret_spec, struct error *err);
/* Fills in container's state, which points into spec, and saves it with a copy of the configuration. */
int place_save(const struct place *self, struct spec *spec, struct container *container, struct error *err);
