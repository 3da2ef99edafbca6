/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's part about migrations: the last ones, each noted once, and sums over all of them. Knows nothing of files.
 */
#pragma once

#include "ledger.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than state/migration_log.h keeps: what is found there is known whether it was counted. */
#define MIGRATIONS_KEPT      256
#define MIGRATION_DIRECTIONS 2 /* 0 away, 1 here */
#define MIGRATION_BUCKETS    16
#define MIGRATION_NAME_SIZE  160

/* Upper limits in seconds of all buckets but the last. */
extern const double migration_bucket_limits[MIGRATION_BUCKETS - 1];

struct migration_histogram {
	uint64_t counts[MIGRATION_BUCKETS]; /* of each alone */
	uint64_t sum_us;
};

struct migration_sums {
	uint64_t done, failed, bytes, faults, stalls, stall_us;
	struct migration_histogram downtime, lazy, stall_max; /* of those that are done and known */
};

struct booked_migration {
	Hydra__V1__LedgerMigration facts; /* its strings are those below */
	char id[MIGRATION_NAME_SIZE], name[MIGRATION_NAME_SIZE], peer[MIGRATION_NAME_SIZE];
};

struct migration_book {
	struct booked_migration *items; /* number N is at N % MIGRATIONS_KEPT; NULL until there is one */
	uint64_t count;
	struct migration_sums sums[MIGRATION_DIRECTIONS];
};

/* Accepts a zeroed one. */
void migration_book_deinit(struct migration_book *self);
/* False: it is noted already, or there is no memory. */
bool migration_book_add(struct migration_book *self, const Hydra__V1__LedgerMigration *facts);
/* As it was written: with sums that have it. */
void migration_book_restore(struct migration_book *self, const Hydra__V1__LedgerMigration *facts);
void migration_book_restore_sums(struct migration_book *self, const Hydra__V1__LedgerMigrationSums *sums);

/* The first one that is still known has this number; the last one count - 1. */
uint64_t migration_book_first(const struct migration_book *self);
const struct booked_migration *migration_book_at(const struct migration_book *self, uint64_t number);

/* The message that says it, with room for its parts. */
struct migration_sums_view {
	Hydra__V1__LedgerMigrationSums message;
	Hydra__V1__LedgerHistogram histograms[3];
	struct migration_sums sums;
};
void migration_sums_view(const struct migration_sums *self, bool is_arrival, struct migration_sums_view *ret_view);
