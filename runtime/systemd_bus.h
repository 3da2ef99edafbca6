/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hydra-systemd asks a manager of systemd. Everything blocks; who started the program ends it when that takes too long.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct sd_bus;

int systemd_bus_open(bool is_user, struct sd_bus **ret_bus, struct error *err);
void systemd_bus_close(struct sd_bus *bus);

/* properties: words as in runtime/unit_words.h. A scope is made for pid. A failed unit of this name is removed first. */
int systemd_bus_start(struct sd_bus *bus, const char *unit, pid_t pid, const char *const *properties, struct error *err);
int systemd_bus_set(struct sd_bus *bus, const char *unit, const char *const *properties, struct error *err);
int systemd_bus_attach(struct sd_bus *bus, const char *unit, pid_t pid, struct error *err);
/* Only a unit that has mark among its documentation; otherwise, and when there is none, nothing is done. */
int systemd_bus_stop(struct sd_bus *bus, const char *unit, const char *mark, struct error *err);
/* The unit's cgroup; the caller frees. */
int systemd_bus_cgroup(struct sd_bus *bus, const char *unit, char **ret_path, struct error *err);
