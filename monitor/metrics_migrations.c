/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations in Prometheus' text: what they cost, by direction. They are not told one by one, for there would be ever more series;
 * hydractl migrations does that.
 */
#include "base/owned.h"
#include "base/text.h"
#include "monitor/metrics.h"

#include <inttypes.h>
#include <string.h>

static const char *const directions[MIGRATION_DIRECTIONS] = {"out", "in"};

static const struct {
	const char *name, *help;
	size_t offset;
} counters[] = {
	{"hydra_migration_bytes_total", "What migrations took over the network.", offsetof(struct migration_sums, bytes)},
	{"hydra_migration_page_faults_total", "Pages that a task asked for before they came by themselves.", offsetof(struct migration_sums, faults)},
	{"hydra_migration_page_stalls_total", "Times a task waited for a page.", offsetof(struct migration_sums, stalls)},
};

static const struct {
	const char *name, *help;
	size_t offset;
} histograms[] = {
	{"hydra_migration_downtime_seconds", "How long containers stood still.", offsetof(struct migration_sums, downtime)},
	{"hydra_migration_lazy_seconds", "From the first instruction at the target until all memory was there.",
	 offsetof(struct migration_sums, lazy)},
	{"hydra_migration_longest_page_stall_seconds", "The longest that a task of a migration waited for a page.",
	 offsetof(struct migration_sums, stall_max)},
};

static void add_counters(struct text *text, const struct migration_sums *sums)
{
	for (size_t family = 0; family < sizeof(counters) / sizeof(counters[0]); family++) {
		metrics_begin_family(text, counters[family].name, "counter", counters[family].help);
		for (size_t i = 0; i < MIGRATION_DIRECTIONS; i++) {
			uint64_t value;

			memcpy(&value, (const char *) &sums[i] + counters[family].offset, sizeof(value));
			text_addf(text, "%s{direction=\"%s\"} %" PRIu64 "\n", counters[family].name, directions[i], value);
		}
	}
	metrics_begin_family(text, "hydra_migration_page_stall_seconds_total", "counter", "How long tasks waited for pages together.");
	for (size_t i = 0; i < MIGRATION_DIRECTIONS; i++)
		text_addf(text, "hydra_migration_page_stall_seconds_total{direction=\"%s\"} %.6f\n", directions[i],
			  (double) sums[i].stall_us / 1e6);
}

static void add_histogram(struct text *text, const char *name, const char *direction, const struct migration_histogram *histogram)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < MIGRATION_BUCKETS - 1; i++) {
		sum += histogram->counts[i];
		text_addf(text, "%s_bucket{direction=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, direction, migration_bucket_limits[i], sum);
	}
	sum += histogram->counts[MIGRATION_BUCKETS - 1];
	text_addf(text, "%s_bucket{direction=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, direction, sum);
	text_addf(text, "%s_sum{direction=\"%s\"} %.6f\n", name, direction, (double) histogram->sum_us / 1e6);
	text_addf(text, "%s_count{direction=\"%s\"} %" PRIu64 "\n", name, direction, sum);
}

void metrics_add_migrations(struct text *text, const struct monitor *monitor)
{
	const struct migration_sums *sums = monitor->ledger.migrations.sums;

	metrics_begin_family(text, "hydra_migrations_running", "gauge", "Migrations under way, in either direction.");
	text_addf(text, "hydra_migrations_running %u\n", monitor->migrations_running);
	metrics_begin_family(text, "hydra_migrations_total", "counter", "Migrations that are over, by direction and result.");
	for (size_t i = 0; i < MIGRATION_DIRECTIONS; i++)
		text_addf(text,
			  "hydra_migrations_total{direction=\"%s\",result=\"done\"} %" PRIu64 "\n"
			  "hydra_migrations_total{direction=\"%s\",result=\"failed\"} %" PRIu64 "\n",
			  directions[i], sums[i].done, directions[i], sums[i].failed);
	add_counters(text, sums);
	for (size_t family = 0; family < sizeof(histograms) / sizeof(histograms[0]); family++) {
		metrics_begin_family(text, histograms[family].name, "histogram", histograms[family].help);
		for (size_t i = 0; i < MIGRATION_DIRECTIONS; i++)
			add_histogram(text, histograms[family].name, directions[i],
				      (const void *) ((const char *) &sums[i] + histograms[family].offset));
	}
}
