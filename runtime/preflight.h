/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is refused before anything is made: words that nobody knows, and fields that this kernel cannot do.
 */
#pragma once

#include "base/error.h"
#include "runtime/cgroup.h"
#include "runtime/spec.h"

int preflight_check(const struct spec *spec, const struct cgroup *cgroup, struct error *err);
