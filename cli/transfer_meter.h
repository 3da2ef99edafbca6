/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast something is transferred, and how long the rest takes, by what was done in the last seconds: an average since the
 * beginning would not notice that a link became slow. Pure: no clock, no input or output.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TRANSFER_SAMPLES_MAX 32
#define TRANSFER_WINDOW_NS   5000000000ULL

struct transfer_sample {
	uint64_t time_ns;
	uint64_t bytes, pages, faults; /* since the beginning */
};

struct transfer_meter {
	struct transfer_sample samples[TRANSFER_SAMPLES_MAX]; /* the oldest one first */
	size_t count;
};

/* Negative: unknown. */
struct transfer_rates {
	double bytes, pages, faults; /* a second */
};

/* A sample that goes back, in time or in what is counted, begins anew: others go on with the transfer. */
void transfer_meter_add(struct transfer_meter *self, const struct transfer_sample *sample);
struct transfer_rates transfer_meter_rates(const struct transfer_meter *self);
/* How long rest takes at so much a second, in ms; -1: unknown. */
int64_t transfer_eta_ms(uint64_t rest, double rate);
