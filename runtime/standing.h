/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who runs us: root of the host, root of somebody's user namespace, or an ordinary user.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* Of the option --rootless: NULL or "auto" looks at who we are. Called once, before anything else here. */
int standing_choose(const char *option, struct error *err);
/* The same, whatever the option says: an ordinary user, or root of a user namespace that does not call himself root. */
bool standing_looks_rootless(void);
/* Cgroups that cannot be had are done without. */
bool standing_is_rootless(void);
/* The command is in a user namespace that somebody made; nodes of devices, for one, cannot be made here. Known once, so
 * that a child does not tell of the one that it was born into. */
bool standing_is_in_user_namespace(void);
/* Capability number, in our user namespace. */
bool standing_has_capability(unsigned int number);
