/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container lifecycle: which event leads from which state to which.
 *
 * Pure data and one lookup, no I/O. The actions live in container.c.
 */
#pragma once

#include "state/record.h"

enum lifecycle_event {
	EVENT_CREATED,
	EVENT_STARTED,
	EVENT_PAUSED,
	EVENT_RESUMED,
	EVENT_INIT_EXITED,
	EVENT_RECREATE, /* a stopped container is about to be created again */
	EVENT_MIGRATION_BEGUN,
	EVENT_MIGRATION_UNDONE,
};

enum lifecycle_answer {
	LIFECYCLE_MOVED,
	LIFECYCLE_REFUSED, /* the event means nothing in this state */
};

enum lifecycle_answer lifecycle_next(Hydra__V1__ContainerState *state, enum lifecycle_event event);
