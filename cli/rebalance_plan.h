/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which moves would make hosts more equal, and why. Pure, and nothing but proposals.
 */
#pragma once

#include "cli/host_report.h"

#define REBALANCE_MOVES_MAX 16
/* A host with more than this is too full; one that would have more than the second takes nothing. */
#define REBALANCE_MEMORY_HIGH   85.0
#define REBALANCE_MEMORY_TARGET 75.0
#define REBALANCE_LOAD_HIGH     100.0
#define REBALANCE_LOAD_TARGET   80.0
#define REBALANCE_PRESSURE_HIGH 10.0

enum rebalance_reason { REBALANCE_MEMORY, REBALANCE_CPU };

struct rebalance_move {
	const struct host_report *from, *to;
	const struct host_container *container;
	enum rebalance_reason reason;
	char words[512];
};

/* As many as are of use, the most urgent first. */
size_t rebalance_plan(const struct host_report *hosts, size_t count, struct rebalance_move ret_moves[static REBALANCE_MOVES_MAX]);
