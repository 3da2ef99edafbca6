/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.memoryPolicy: from which memory nodes the container's processes get their memory.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

/* Unknown words, lists that are none, and combinations that no kernel takes. NULL is none, and fine. */
int memory_policy_check(const struct spec_memory_policy *policy, struct error *err);
/* For the calling process and what it executes. */
int memory_policy_apply(const struct spec_memory_policy *policy, struct error *err);

/* Tables for `hydra features`; end with NULL. */
extern const char *const memory_policy_modes[];
extern const char *const memory_policy_flags[];
