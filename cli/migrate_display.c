/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrate_display.h"

#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define PAGE_BYTES    4096U
#define BAR_WIDTH     20
#define COLUMNS_LEAST 20U
#define COLUMNS_USUAL 80U
/* Of lines, where nothing is drawn in place: at each new phase, and so often. */
#define LINE_EVERY_NS (5 * NS_PER_S)
#define LINE_REST     "\033[K"

void migrate_display_init(struct migrate_display *self, const struct cli *cli)
{
	*self = (struct migrate_display){.cli = cli, .is_screen = !cli->plain && !cli_wants_json(cli) && isatty(STDERR_FILENO)};
}

/* Pages that nobody wants any more do not travel: when it is done, all is. */
static uint64_t pages_left(const Hydra__V1__MigrationStatus *status)
{
	bool is_complete = status->is_done && !status->has_failed;

	return is_complete || status->pages_done > status->pages_total ? 0 : status->pages_total - status->pages_done;
}

static bool is_about_memory(const Hydra__V1__MigrationStatus *status)
{
	return status->frozen_ns != 0 || status->pages_done > 0;
}

static unsigned percent(const Hydra__V1__MigrationStatus *status)
{
	uint64_t total = is_about_memory(status) ? status->pages_total : status->bytes_total;
	uint64_t done = is_about_memory(status) ? total - pages_left(status) : status->bytes_done;

	if (status->is_done && !status->has_failed)
		return 100;
	if (total == 0 || done >= total)
		return total == 0 ? 0 : 100;
	return (unsigned) (done * 100 / total);
}

/* -1: unknown. Before the freeze nobody knows how long it will take to the end: it is the phase that is told of. */
static int64_t time_left_ms(const Hydra__V1__MigrationStatus *status, const struct transfer_rates *rates)
{
	uint64_t bytes_left = status->bytes_total > status->bytes_done ? status->bytes_total - status->bytes_done : 0;

	if (status->is_done)
		return 0;
	if (strcmp(status->phase, "paging") == 0 || strcmp(status->phase, "pre-copy") == 0)
		return transfer_eta_ms(pages_left(status), rates->pages);
	return strcmp(status->phase, "sync") == 0 ? transfer_eta_ms(bytes_left, rates->bytes) : -1;
}

/* Until now when it still stands still; negative: it has not been stopped. */
static int64_t standstill_us(const Hydra__V1__MigrationStatus *status)
{
	uint64_t now = status->is_done ? status->time_ns : clock_realtime_ns();

	if (status->downtime_us > 0)
		return (int64_t) status->downtime_us;
	if (status->frozen_ns == 0 || now < status->frozen_ns || (status->is_done && status->has_failed))
		return -1;
	return (int64_t) ((now - status->frozen_ns) / NS_PER_US);
}

static void add_standstill(struct text *line, const Hydra__V1__MigrationStatus *status)
{
	int64_t spent_us = standstill_us(status);
	char duration[32];

	if (spent_us < 0)
		return;
	format_duration((uint64_t) spent_us * NS_PER_US, duration, sizeof(duration));
	text_addf(line, "  %s %s", status->downtime_us > 0 ? "stood still" : "stands still", duration);
}

static void add_figures(struct text *line, const Hydra__V1__MigrationStatus *status, const struct transfer_rates *rates)
{
	int64_t left_ms = time_left_ms(status, rates);
	char size[32];

	add_standstill(line, status);
	format_size(status->bytes_sent, size, sizeof(size));
	text_addf(line, "  %s", size);
	if (rates->bytes >= 0) {
		format_size((uint64_t) rates->bytes, size, sizeof(size));
		text_addf(line, " (%s/s)", size);
	}
	if (is_about_memory(status))
		text_addf(line, "  %" PRIu64 " pages left", pages_left(status));
	if (rates->faults >= 0 && is_about_memory(status))
		text_addf(line, "  %.0f faults/s", rates->faults);
	if (left_ms >= 0 && !status->is_done) {
		format_duration((uint64_t) left_ms * NS_PER_MS, size, sizeof(size));
		text_addf(line, "  ETA %s", size);
	}
}

static void draw(struct migrate_display *self, const Hydra__V1__MigrationStatus *status, const struct transfer_rates *rates)
{
	struct winsize size = {.ws_col = COLUMNS_USUAL};
	unsigned done = percent(status), filled = done * BAR_WIDTH / 100, columns;
	auto_text line = TEXT_EMPTY;

	(void) ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	columns = size.ws_col == 0 ? COLUMNS_USUAL : size.ws_col > COLUMNS_LEAST ? size.ws_col : COLUMNS_LEAST;
	text_addf(&line, "%-10.10s [%.*s%*s] %3u%%", status->phase, (int) filled, "####################", (int) (BAR_WIDTH - filled), "",
		  done);
	add_figures(&line, status, rates);
	/* without the last column: a cursor behind it would begin another line */
	(void) fprintf(stderr, "\r%.*s" LINE_REST, (int) columns - 1, line.data != NULL ? line.data : "");
	(void) fflush(stderr);
	self->is_drawn = true;
}

static void print_line(struct migrate_display *self, const Hydra__V1__MigrationStatus *status, const struct transfer_rates *rates)
{
	bool is_new_phase = strcmp(self->phase, status->phase) != 0;
	auto_text line = TEXT_EMPTY;

	if (!is_new_phase && status->time_ns - self->printed_ns < LINE_EVERY_NS)
		return;
	self->printed_ns = status->time_ns;
	text_addf(&line, "%s", status->phase);
	if (!is_new_phase) {
		text_addf(&line, "  %u%%", percent(status));
		add_figures(&line, status, rates);
	}
	(void) puts(line.data != NULL ? line.data : "");
	(void) fflush(stdout);
}

static void add_number(struct text *text, const char *name, double value)
{
	if (value >= 0)
		text_addf(text, ",\"%s\":%.1f", name, value);
	else
		text_addf(text, ",\"%s\":null", name);
}

static void print_json(const Hydra__V1__MigrationStatus *status, const struct transfer_rates *rates)
{
	auto_free char *json = json_of_message(&status->base, false);
	auto_text text = TEXT_EMPTY;

	text_add_bytes(&text, json, strlen(json) - 1);
	text_addf(&text, ",\"pagesLeft\":%" PRIu64, pages_left(status));
	add_number(&text, "bytesPerSecond", rates->bytes);
	add_number(&text, "pagesPerSecond", rates->pages);
	add_number(&text, "faultsPerSecond", rates->faults);
	add_number(&text, "timeLeftMs", (double) time_left_ms(status, rates));
	add_number(&text, "standstillUs", (double) standstill_us(status));
	text_add(&text, "}");
	(void) puts(text.data != NULL ? text.data : "");
	(void) fflush(stdout);
}

static void show(struct migrate_display *self, const Hydra__V1__MigrationStatus *status)
{
	struct transfer_rates rates = transfer_meter_rates(&self->meter);

	if (cli_wants_json(self->cli))
		print_json(status, &rates);
	else if (self->is_screen)
		draw(self, status, &rates);
	else
		print_line(self, status, &rates);
}

void migrate_display_show(struct migrate_display *self, const Hydra__V1__MigrationStatus *status)
{
	if (strcmp(self->phase, status->phase) != 0)
		self->meter.count = 0;
	transfer_meter_add(&self->meter, &(struct transfer_sample){.time_ns = status->time_ns,
								   .bytes = status->bytes_sent,
								   .pages = status->pages_done,
								   .faults = status->faults});
	show(self, status);
	(void) text_fit(self->phase, sizeof(self->phase), "%s", status->phase);
}

void migrate_display_again(struct migrate_display *self, const Hydra__V1__MigrationStatus *status)
{
	if (self->is_screen)
		show(self, status);
}

void migrate_display_end(struct migrate_display *self)
{
	if (self->is_drawn)
		(void) fputc('\n', stderr);
	self->is_drawn = false;
}
