/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the memory of a container moves: after the commit (post-copy), before it while the container runs (pre-copy), both
 * (hybrid), or while it stands still (cold). Whatever the mode, the container belongs to one host at any time.
 */
#pragma once

#include "base/error.h"
#include "handoff.pb-c.h"

#include <stdbool.h>

typedef Hydra__V1__HandoffMode handoff_mode;

/* "auto", "post-copy", "pre-copy", "hybrid", "cold". -EINVAL: no such mode. */
int mode_parse(const char *name, handoff_mode *ret_mode);
const char *mode_name(handoff_mode mode);

/* Pages come after the commit. */
bool mode_is_lazy(handoff_mode mode);
/* Pages come while the container runs. */
bool mode_has_rounds(handoff_mode mode);

/* What two hosts can do. */
struct mode_facts {
	bool has_lazy_pages; /* target: userfaultfd is complete, and allowed for this container */
	bool tracks_writes;  /* source: soft-dirty */
};

/* The best there is; *ret_why tells the choice to people. */
handoff_mode mode_choose(const struct mode_facts *facts, const char **ret_why);
