/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a migration is shown while it goes on: as one line that is drawn again in place on a terminal, as lines otherwise, or as JSON
 * objects. Never waits.
 */
#pragma once

#include "cli/cli.h"
#include "cli/transfer_meter.h"

/* How often the line on a terminal is to be drawn without news: the standstill grows, whether anybody says so or not. */
#define MIGRATE_DISPLAY_TICK_MS 200

struct migrate_display {
	const struct cli *cli;
	bool is_screen;       /* a line in place */
	bool is_drawn;
	struct transfer_meter meter;
	char phase[64];       /* that the meter is about */
	uint64_t printed_ns;  /* of the last line */
};

void migrate_display_init(struct migrate_display *self, const struct cli *cli);
/* News. */
void migrate_display_show(struct migrate_display *self, const Hydra__V1__MigrationStatus *status);
/* No news, or the terminal has another size. */
void migrate_display_again(struct migrate_display *self, const Hydra__V1__MigrationStatus *status);
/* What comes next begins in a line of its own. */
void migrate_display_end(struct migrate_display *self);
