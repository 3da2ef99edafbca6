/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability names and sets. Raw system calls: libcap would add nothing here but an allocation for each set.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdint.h>

#define CAPABILITY_COUNT 41

struct capability_sets {
	uint64_t bounding;
	uint64_t effective;
	uint64_t inheritable;
	uint64_t permitted;
	uint64_t ambient;
};

/* "CAP_CHOWN" for 0; NULL beyond the last. */
const char *capability_name(unsigned int number);
/* Accepts "CAP_CHOWN" and "chown" in any case. -EINVAL when there is none of that name. */
int capability_parse(const char *name, unsigned int *ret_number);

/* Names that this program does not know are left out, as the specification wants it. */
struct capability_sets capability_sets_parse(const struct spec_capabilities *capabilities);
/* The first of these, for a warning; or NULL. */
const char *capability_sets_unknown(const struct spec_capabilities *capabilities);

/* Before the change of user: drops from the bounding set what sets lacks. */
int capability_sets_limit(const struct capability_sets *sets, struct error *err);
/* After the change of user (under PR_SET_KEEPCAPS): takes on the other sets. What this process never had is left out. */
int capability_sets_apply(const struct capability_sets *sets, struct error *err);
