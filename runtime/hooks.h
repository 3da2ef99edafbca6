/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that the configuration wants to be run at points of the container's life.
 */
#pragma once

#include "base/error.h"
#include "runtime/container.h"

/* Runs them one after the other with the state on their standard input; stops at the first that fails, but for
 * those of poststop, which all run; the first failure is what is told. */
int hooks_run(const spec_hook_list *hooks, const char *kind, const struct container_state *state,
	      enum container_status status, struct error *err);
