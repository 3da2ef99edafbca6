/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 12

struct table {
	size_t columns;
	size_t rows;
	size_t widths[COLUMNS_MAX];
	char **cells;
};

struct table *table_new(const char *const *headers)
{
	struct table *self = calloc(1, sizeof(*self));

	if (self == NULL)
		abort();
	while (headers[self->columns] != NULL)
		self->columns++;
	table_add(self, headers);
	return self;
}

void table_add(struct table *self, const char *const *cells)
{
	char **larger = realloc(self->cells, (self->rows + 1) * self->columns * sizeof(*larger));

	if (larger == NULL)
		abort();
	self->cells = larger;
	for (size_t column = 0; column < self->columns; column++) {
		size_t width = strlen(cells[column]);

		self->cells[self->rows * self->columns + column] = text_copy(cells[column]);
		if (width > self->widths[column])
			self->widths[column] = width;
	}
	self->rows++;
}

void table_print(const struct table *self)
{
	for (size_t i = 0; i < self->rows * self->columns; i++) {
		size_t column = i % self->columns;
		bool is_last = column + 1 == self->columns;

		(void) printf("%-*s%s", is_last ? 0 : (int) self->widths[column], self->cells[i], is_last ? "\n" : "   ");
	}
}

void table_print_within(const struct table *self, size_t width, const char *line_end)
{
	for (size_t row = 0; row < self->rows; row++) {
		auto_text line = TEXT_EMPTY;

		for (size_t column = 0; column < self->columns; column++)
			text_addf(&line, "%-*s%s", (int) self->widths[column], self->cells[row * self->columns + column],
				  column + 1 == self->columns ? "" : "   ");
		(void) printf("%.*s%s", (int) width, line.data, line_end);
	}
}

void table_free(struct table *self)
{
	for (size_t i = 0; i < self->rows * self->columns; i++)
		free(self->cells[i]);
	free(self->cells);
	free(self);
}

bool cli_wants_json(const struct cli *cli)
{
	return strcmp(cli->format, "json") == 0;
}

void format_age(uint64_t since_ns, char *buffer, size_t size)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
	uint64_t now_ns = clock_realtime_ns();
	uint64_t seconds = now_ns > since_ns ? (now_ns - since_ns) / NS_PER_S : 0;

	if (since_ns == 0) {
		(void) text_fit(buffer, size, "-");
		return;
	}
	for (size_t i = 0; i < 4; i++) {
		uint64_t count = seconds / units[i].seconds;

		if (count == 0 && i < 3)
			continue;
		(void) text_fit(buffer, size, "%llu %s%s ago", (unsigned long long) count, units[i].name, count == 1 ? "" : "s");
		return;
	}
}

void format_duration(uint64_t duration_ns, char *buffer, size_t size)
{
	unsigned long long seconds = duration_ns / NS_PER_S;

	if (duration_ns < NS_PER_S)
		(void) text_fit(buffer, size, "%.1f ms", (double) duration_ns / NS_PER_MS);
	else if (seconds < 60)
		(void) text_fit(buffer, size, "%.1f s", (double) duration_ns / NS_PER_S);
	else if (seconds < 3600)
		(void) text_fit(buffer, size, "%llum%02llus", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		(void) text_fit(buffer, size, "%lluh%02llum", seconds / 3600, seconds / 60 % 60);
	else
		(void) text_fit(buffer, size, "%llud%02lluh", seconds / 86400, seconds / 3600 % 24);
}

void format_size(uint64_t bytes, char *buffer, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double) bytes;
	size_t unit = 0;

	for (; value >= 1024 && unit < 4; unit++)
		value /= 1024;
	(void) text_fit(buffer, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}
