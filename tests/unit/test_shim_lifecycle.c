/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/lifecycle.h"
#include "tests/unit/harness.h"

#define STATE(name) HYDRA__V1__CONTAINER_STATE__STATE_##name

TEST(a_running_container_stops_when_its_init_exits)
{
	Hydra__V1__ContainerState state = STATE(RUNNING);

	CHECK(lifecycle_next(&state, EVENT_INIT_EXITED) == LIFECYCLE_MOVED && state == STATE(STOPPED));
}

TEST(a_stopped_container_can_only_be_created_again)
{
	for (int event = EVENT_CREATED; event <= EVENT_MIGRATION_UNDONE; event++) {
		Hydra__V1__ContainerState state = STATE(STOPPED);
		bool moved = lifecycle_next(&state, (enum lifecycle_event) event) == LIFECYCLE_MOVED;

		CHECK(moved == (event == EVENT_RECREATE));
		CHECK(moved || state == STATE(STOPPED));
	}
}

TEST(a_paused_container_cannot_be_paused_or_migrated)
{
	Hydra__V1__ContainerState state = STATE(PAUSED);

	CHECK(lifecycle_next(&state, EVENT_PAUSED) == LIFECYCLE_REFUSED);
	CHECK(lifecycle_next(&state, EVENT_MIGRATION_BEGUN) == LIFECYCLE_REFUSED);
	CHECK(state == STATE(PAUSED));
}
