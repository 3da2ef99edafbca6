/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out what drain_plan() says: so many migrations at a time, until all are over, one fails, or somebody interrupts.
 */
#pragma once

#include "cli/drain_plan.h"

struct drain_moves {
	const struct cli *cli;
	const Hydra__V1__MigrateRequest *way; /* how each is moved */
	const struct drain_step *steps;
	size_t count;
	unsigned parallel;
	bool keeps_going;
	size_t moved, failed; /* the outcome */
};

/* A line, or an object, about a step; detail may be "". */
void drain_tell(const struct cli *cli, const struct drain_step *step, const char *event, const char *detail);
/* 0 when it is over, whatever the outcome; -EINTR: somebody interrupted, and what was not committed was cancelled. */
int drain_moves_run(struct drain_moves *self, struct error *err);
