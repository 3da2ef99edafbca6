/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/transfer_meter.h"

#include "base/clock.h"

#include <stdbool.h>
#include <string.h>

/* Rates over less than that say more about the clock than about the transfer. */
#define SPAN_LEAST_NS (50 * NS_PER_MS)
#define ETA_MOST_MS   (100LL * 24 * 3600 * 1000)

static void drop_oldest(struct transfer_meter *self, size_t count)
{
	self->count -= count;
	memmove(self->samples, self->samples + count, self->count * sizeof(self->samples[0]));
}

static bool goes_back(const struct transfer_sample *from, const struct transfer_sample *to)
{
	return to->time_ns < from->time_ns || to->bytes < from->bytes || to->pages < from->pages || to->faults < from->faults;
}

void transfer_meter_add(struct transfer_meter *self, const struct transfer_sample *sample)
{
	size_t old = 0;

	if (self->count > 0 && goes_back(&self->samples[self->count - 1], sample))
		self->count = 0;
	if (self->count > 0 && self->samples[self->count - 1].time_ns == sample->time_ns)
		self->count--;
	/* one from before the window stays, that the window is covered */
	while (old + 1 < self->count && sample->time_ns - self->samples[old + 1].time_ns >= TRANSFER_WINDOW_NS)
		old++;
	if (self->count - old == TRANSFER_SAMPLES_MAX)
		old++;
	drop_oldest(self, old);
	self->samples[self->count++] = *sample;
}

struct transfer_rates transfer_meter_rates(const struct transfer_meter *self)
{
	const struct transfer_sample *first = &self->samples[0], *last = &self->samples[self->count > 0 ? self->count - 1 : 0];
	double seconds;

	if (self->count < 2 || last->time_ns - first->time_ns < SPAN_LEAST_NS)
		return (struct transfer_rates){-1, -1, -1};
	seconds = (double) (last->time_ns - first->time_ns) / (double) NS_PER_S;
	return (struct transfer_rates){.bytes = (double) (last->bytes - first->bytes) / seconds,
				       .pages = (double) (last->pages - first->pages) / seconds,
				       .faults = (double) (last->faults - first->faults) / seconds};
}

int64_t transfer_eta_ms(uint64_t rest, double rate)
{
	double ms = rate > 0 ? (double) rest / rate * 1000 : -1;

	if (rest == 0)
		return 0;
	return ms < 0 || ms > (double) ETA_MOST_MS ? -1 : (int64_t) ms;
}
