/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/migration_book.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

const double migration_bucket_limits[MIGRATION_BUCKETS - 1] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800};

void migration_book_deinit(struct migration_book *self)
{
	free(self->items);
	*self = (struct migration_book){.items = NULL};
}

uint64_t migration_book_first(const struct migration_book *self)
{
	return self->count > MIGRATIONS_KEPT ? self->count - MIGRATIONS_KEPT : 0;
}

const struct booked_migration *migration_book_at(const struct migration_book *self, uint64_t number)
{
	return &self->items[number % MIGRATIONS_KEPT];
}

static bool is_known(const struct migration_book *self, const char *id)
{
	for (uint64_t number = migration_book_first(self); number < self->count; number++) {
		if (strcmp(migration_book_at(self, number)->id, id) == 0)
			return true;
	}
	return false;
}

static bool keep(struct migration_book *self, const Hydra__V1__LedgerMigration *facts)
{
	struct booked_migration *item;

	if (is_known(self, facts->id))
		return false;
	if (self->items == NULL)
		self->items = calloc(MIGRATIONS_KEPT, sizeof(*self->items));
	if (self->items == NULL)
		return false;
	item = &self->items[self->count++ % MIGRATIONS_KEPT];
	item->facts = *facts;
	(void) text_fit(item->id, sizeof(item->id), "%s", facts->id);
	(void) text_fit(item->name, sizeof(item->name), "%s", facts->name);
	(void) text_fit(item->peer, sizeof(item->peer), "%s", facts->peer);
	item->facts.base.n_unknown_fields = 0;
	item->facts.base.unknown_fields = NULL;
	item->facts.id = item->id;
	item->facts.name = item->name;
	item->facts.peer = item->peer;
	return true;
}

static void observe(struct migration_histogram *self, uint64_t duration_us)
{
	double seconds = (double) duration_us / 1e6;
	size_t bucket = 0;

	while (bucket < MIGRATION_BUCKETS - 1 && seconds > migration_bucket_limits[bucket])
		bucket++;
	self->counts[bucket]++;
	self->sum_us += duration_us;
}

static void count(struct migration_sums *self, const Hydra__V1__LedgerMigration *facts)
{
	self->bytes += facts->bytes;
	self->faults += facts->faults;
	self->stalls += facts->stalls;
	self->stall_us += facts->stall_us;
	self->failed += facts->has_failed;
	self->done += !facts->has_failed;
	if (facts->has_failed)
		return;
	if (facts->downtime_us > 0)
		observe(&self->downtime, facts->downtime_us);
	if (facts->lazy_us > 0)
		observe(&self->lazy, facts->lazy_us);
	if (facts->stalls > 0)
		observe(&self->stall_max, facts->stall_max_us);
}

bool migration_book_add(struct migration_book *self, const Hydra__V1__LedgerMigration *facts)
{
	if (!keep(self, facts))
		return false;
	count(&self->sums[facts->is_arrival], facts);
	return true;
}

void migration_book_restore(struct migration_book *self, const Hydra__V1__LedgerMigration *facts)
{
	(void) keep(self, facts);
}

static void restore_histogram(struct migration_histogram *self, const Hydra__V1__LedgerHistogram *from)
{
	if (from == NULL || from->n_counts != MIGRATION_BUCKETS)
		return;
	memcpy(self->counts, from->counts, sizeof(self->counts));
	self->sum_us = from->sum_us;
}

void migration_book_restore_sums(struct migration_book *self, const Hydra__V1__LedgerMigrationSums *from)
{
	struct migration_sums *sums = &self->sums[from->is_arrival];

	*sums = (struct migration_sums){.done = from->done, .failed = from->failed, .bytes = from->bytes, .faults = from->faults,
					.stalls = from->stalls, .stall_us = from->stall_us};
	restore_histogram(&sums->downtime, from->downtime);
	restore_histogram(&sums->lazy, from->lazy);
	restore_histogram(&sums->stall_max, from->stall_max);
}

static void view_histogram(struct migration_histogram *histogram, Hydra__V1__LedgerHistogram *ret_message)
{
	hydra__v1__ledger_histogram__init(ret_message);
	ret_message->counts = histogram->counts;
	ret_message->n_counts = MIGRATION_BUCKETS;
	ret_message->sum_us = histogram->sum_us;
}

void migration_sums_view(const struct migration_sums *self, bool is_arrival, struct migration_sums_view *ret_view)
{
	Hydra__V1__LedgerMigrationSums *message = &ret_view->message;

	ret_view->sums = *self;
	hydra__v1__ledger_migration_sums__init(message);
	message->is_arrival = is_arrival;
	message->done = self->done;
	message->failed = self->failed;
	message->bytes = self->bytes;
	message->faults = self->faults;
	message->stalls = self->stalls;
	message->stall_us = self->stall_us;
	view_histogram(&ret_view->sums.downtime, &ret_view->histograms[0]);
	view_histogram(&ret_view->sums.lazy, &ret_view->histograms[1]);
	view_histogram(&ret_view->sums.stall_max, &ret_view->histograms[2]);
	message->downtime = &ret_view->histograms[0];
	message->lazy = &ret_view->histograms[1];
	message->stall_max = &ret_view->histograms[2];
}
