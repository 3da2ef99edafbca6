/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units of systemd for containers, by the program hydra-systemd, which speaks to systemd's bus.
 *
 * A scope needs a process to be made for: hydra-systemd puts itself into it, and stays until the container's init is there. When
 * hydra dies before that, so does hydra-systemd, and systemd removes the empty scope.
 */
#pragma once

#include "base/error.h"
#include "runtime/cgroup.h"
#include "runtime/spec.h"
#include "runtime/systemd_unit.h"

#include <stdbool.h>
#include <sys/types.h>

struct systemd_hold {
	pid_t pid; /* 0: none */
	int order_fd;
	int reply_fd;
};

#define SYSTEMD_HOLD_NONE ((struct systemd_hold){.pid = 0, .order_fd = -1, .reply_fd = -1})

/* The manager of the calling user, not the system's. */
bool systemd_is_user(void);
/* For a program that is about to execute itself from a place that has no neighbours. */
void systemd_remember_program(void);
/* Whether there is a manager that could be asked; looks for its socket only. */
int systemd_check(struct error *err);

/* Annotations and limits that cannot become properties. Changes nothing. */
int systemd_check_spec(const struct spec *spec, struct error *err);

/* Makes the unit with the limits and the annotations of spec. folder, where the container's state is, tells it from others' units.
 * *ret_path is its cgroup, below each mount. */
int systemd_start(const struct systemd_unit *unit, const struct spec *spec, const char *folder, struct systemd_hold *ret_hold,
		  char ret_path[static CGROUP_PATH_SIZE], struct error *err);
/* Moves a process into the unit, for callers who may not do it themselves. */
int systemd_attach(struct systemd_hold *self, pid_t pid, struct error *err);
/* Leaves the unit to its container. Accepts none. */
void systemd_release(struct systemd_hold *self);

/* The same after that. */
int systemd_join(const char *unit, pid_t pid, struct error *err);

/* Changes the limits that systemd knows; cgroup, of the same container, tells those that are changed by halves. */
int systemd_update(const char *unit, const struct cgroup *cgroup, const struct spec_resources *resources, struct error *err);
/* Stops the unit and waits for that. One that is not there, or is another's, is success. */
int systemd_stop(const char *unit, const char *folder, struct error *err);
