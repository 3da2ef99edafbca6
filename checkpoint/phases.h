/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The phases of a migration and the records that are written on the way, one table for both hosts. Whoever enters a phase or writes
 * a record passes points with names made of it, at which test builds can be killed: tests take their list from
 * `hydra-pager phases`, so that a new phase is tested without anybody thinking of it.
 */
#pragma once

#include "checkpoint.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

enum migration_phase {
	SOURCE_PREFLIGHT,
	SOURCE_SYNC,
	SOURCE_PRE_COPY,
	SOURCE_FREEZE,
	SOURCE_IMAGES,
	SOURCE_VOTE,
	SOURCE_COMMITTED,
	SOURCE_PAGING,
	SOURCE_RECONNECTING,
	SOURCE_DONE,
	SOURCE_FAILED,
	SOURCE_IN_DOUBT,
	TARGET_PREFLIGHT,
	TARGET_PREPARE,
	TARGET_PRE_COPY,
	TARGET_IMAGES,
	TARGET_RESTORE,
	TARGET_PREPARED,
	TARGET_COMMITTED,
	TARGET_PAGING,
	TARGET_SOURCE_LOST,
	TARGET_DONE,
	TARGET_FAILED,
	TARGET_BROKEN,
	MIGRATION_PHASES,
};

enum migration_side { SIDE_SOURCE, SIDE_TARGET };

/* An undisturbed migration comes here; only one that copies memory in rounds does (modes pre-copy and hybrid); it does not. */
enum phase_occasion { PHASE_NORMAL, PHASE_IN_ROUNDS, PHASE_EXCEPTION };

struct migration_phase_info {
	enum migration_side side;
	const char *name; /* as in the progress */
	enum phase_occasion occasion;
	const char *meaning;
};

const struct migration_phase_info *migration_phase(enum migration_phase phase);

/* The point "phase.SIDE.NAME". */
void migration_phase_entered(enum migration_phase phase);
/* The points "record.SIDE.STATE.before" and "record.SIDE.STATE.after". */
void migration_record_point(enum migration_side side, Hydra__V1__HandoverState state, bool is_after);
/* All of them, a line each: "SIDE phase NAME OCCASION MEANING", "SIDE record STATE OCCASION". */
void migration_phases_print(void);
