/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How this host is at the moment: for hosts that consider sending containers here. Looks, and changes nothing.
 */
#pragma once

#include "handoff.pb-c.h"

#define HOST_CONTAINERS_MAX 1000

/* Everything on the heap; free with hydra__v1__handoff_host_state__free_unpacked. run_root NULL: no containers. */
Hydra__V1__HandoffHostState *host_state_collect(const char *run_root);
