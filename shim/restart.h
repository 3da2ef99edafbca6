/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restart policy: whether and when a container that ended is started again, with or without a daemon.
 */
#pragma once

#include "base/event_loop.h"
#include "state/exit_record.h"
#include "state/record.h"

#include <stdbool.h>

struct container;

/* Pure. stop_was_asked as in the record. */
bool restart_is_due(const Hydra__V1__RestartPolicy *policy, const exit_record *exit, uint32_t restart_count,
		    bool stop_was_asked);
/* Pure. Docker's back-off: 100 ms, doubled each time up to a minute, from the start again after ten seconds of running. */
uint64_t restart_delay(uint64_t previous_delay_ns, uint64_t ran_ns);

/* Of a container that has just ended: what its record says from now on. */
bool restart_is_wanted(struct container *container);
/* The container ended and is cleaned: arms its restart timer if the record says so. */
void restart_consider(struct container *container);
/* Somebody asked for its start: how it was stopped and how often it was restarted before does not count any more. */
void restart_begin_anew(struct container *container);
/* Handler of the restart timer. */
void restart_now(struct event_timer *timer);
/* It is created: lets its program go. */
void restart_start(struct container *container);
