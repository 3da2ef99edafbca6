/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that move containers share.
 */
#pragma once

#include "cli/cli.h"

#include <stdbool.h>

struct migrate_options {
	const char *certificates, *bandwidth, *compress, *mode, *downtime, *exec_sessions, *lost_pages, *resolve;
	struct string_list deadlines;
	bool dry_run, is_resumed, force;
};

extern const struct option_entry migrate_entries[];

/* Into request, whose strings stay the options'. */
int migrate_options_parse(const struct migrate_options *options, Hydra__V1__MigrateRequest *request, struct error *err);

/* preflight.c: tells what is in the way. Returns an exit status: 0 when nothing is. */
int preflight_run(const struct cli *cli, const Hydra__V1__MigrateRequest *request, struct error *err);
