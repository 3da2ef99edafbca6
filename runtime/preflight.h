/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is refused before anything is made: words that nobody knows, and fields that this kernel cannot do.
 */
#pragma once

#include "base/error.h"
#include "runtime/cgroup.h"
#include "runtime/spec.h"

/* The limits alone, which may come later as well. */
int preflight_check_resources(const struct spec_resources *resources, const struct cgroup *cgroup, struct error *err);
int preflight_check(const struct spec *spec, const struct cgroup *cgroup, struct error *err);
