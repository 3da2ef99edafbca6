/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the parts of a migration may take, up to the commit; after it nothing ends by the clock.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"

#include <stdint.h>

enum deadline {
	DEADLINE_PREFLIGHT, /* until the target has answered */
	DEADLINE_SYNC,      /* the first pass of the layer, and rounds of memory */
	DEADLINE_FREEZE,    /* from the freeze to the commit: how long the container may stand still */
	DEADLINE_COMMIT,    /* from the beginning to the commit */
	DEADLINES,
};

/* Of NAME=TIME words ("freeze=10s"); 0: none. -EINVAL names the word. */
int deadlines_parse(const struct string_list *words, uint64_t ret_ns[static DEADLINES], struct error *err);
const char *deadline_name(enum deadline deadline);
