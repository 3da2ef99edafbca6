/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations, those under way and the last ones that are over: <data>/.migrations/ID, a hydra.v1.MigrationStatus each, which outlives
 * the machine's run. It is written when a migration begins and when it is over; what is in between its progress file says
 * (state/migration_file.h).
 */
#pragma once

#include "base/error.h"
#include "daemon.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

/* Of those that are over. */
#define MIGRATION_LOG_KEPT 200

struct migration_start {
	const char *id, *namespace, *container, *peer, *mode; /* mode "": not known */
	bool is_arrival;
};

/* Notes it, in its progress file too, which progress_fd is. What can't be written is no reason not to migrate. */
void migration_log_begin(const struct migration_start *start, int progress_fd);
/* Its last line is in the progress file. */
void migration_log_end(const char *root, const char *id);

/* All that are known, the oldest first. Those whose writers died are concluded, in the files too. */
struct migration_list {
	Hydra__V1__MigrationStatus **items;
	size_t count;
};
int migration_log_list(const char *root, struct migration_list *ret_list, struct error *err);
void migration_list_deinit(struct migration_list *self);

/* The folder, made when missing; the caller frees. */
char *migration_log_folder(void);
