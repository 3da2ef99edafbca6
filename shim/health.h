/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health checks: a command that the shim runs in the container again and again, with or without a daemon.
 *
 * As Docker's: the first one runs an interval after the start; exit status 0 is healthy; `retries` failures in a row make the
 * container unhealthy; failures within the start period do not count until one check has succeeded. What happens to an
 * unhealthy container is for whoever reads the event.
 */
#pragma once

#include "shim/container.h"

#define HEALTH_EXEC_ID "health-check"

/* Pure: what is known after a check that ended with exit_code (not 0: failed) at now_ns. True: the status changed. */
bool health_take(Hydra__V1__Health *health, const Hydra__V1__HealthCheck *check, uint32_t exit_code, uint64_t started_ns,
		 uint64_t now_ns);

/* The container runs (again): begins to check, if it is to be. */
void health_begin(struct container *self);
/* It does not run any more. */
void health_end(struct container *self);
/* An exec has ended. True: it was a check; nobody else needs to hear of it. */
bool health_ended(struct container *self, const struct process *process);
/* True: a check runs, and is being killed. */
bool health_interrupt(struct container *self);
bool health_is_check(const struct process *process);
/* Another check from now on, or none. */
int health_update(struct container *self, const Hydra__V1__HealthCheck *check, struct error *err);
