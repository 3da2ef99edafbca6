/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/lifecycle.h"

#include <stddef.h>

#define STATE(name) HYDRA__V1__CONTAINER_STATE__STATE_##name

static const struct transition {
	Hydra__V1__ContainerState from;
	enum lifecycle_event on;
	Hydra__V1__ContainerState to;
} transitions[] = {
	{STATE(CREATING),  EVENT_CREATED,          STATE(CREATED)  },
	{STATE(CREATED),   EVENT_STARTED,          STATE(RUNNING)  },
	{STATE(CREATED),   EVENT_INIT_EXITED,      STATE(STOPPED)  },
	{STATE(RUNNING),   EVENT_PAUSED,           STATE(PAUSED)   },
	{STATE(RUNNING),   EVENT_INIT_EXITED,      STATE(STOPPED)  },
	{STATE(RUNNING),   EVENT_MIGRATION_BEGUN,  STATE(MIGRATING)},
	{STATE(PAUSED),    EVENT_RESUMED,          STATE(RUNNING)  },
	{STATE(PAUSED),    EVENT_INIT_EXITED,      STATE(STOPPED)  },
	{STATE(MIGRATING), EVENT_MIGRATION_UNDONE, STATE(RUNNING)  },
	{STATE(MIGRATING), EVENT_INIT_EXITED,      STATE(STOPPED)  },
	{STATE(RESTORING), EVENT_STARTED,          STATE(RUNNING)  },
	{STATE(STOPPED),   EVENT_RECREATE,         STATE(CREATING) },
};

enum lifecycle_answer lifecycle_next(Hydra__V1__ContainerState *state, enum lifecycle_event event)
{
	for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
		if (transitions[i].from == *state && transitions[i].on == event) {
			*state = transitions[i].to;
			return LIFECYCLE_MOVED;
		}
	}
	return LIFECYCLE_REFUSED;
}
