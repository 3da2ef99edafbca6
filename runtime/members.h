/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of a container: those of its cgroup or, when it has none of its own, those of its pid namespace.
 */
#pragma once

#include "runtime/container.h"

#include <stddef.h>

/* *ret_pids is the caller's to free. None when the container has stopped, or has neither. */
int members_list(const struct container *container, pid_t **ret_pids, size_t *ret_count, struct error *err);
/* Signals all of them. */
int members_signal(const struct container *container, int signal_number, struct error *err);
