/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/transfer_meter.h"
#include "tests/unit/harness.h"

static void add(struct transfer_meter *meter, uint64_t ms, uint64_t bytes, uint64_t pages, uint64_t faults)
{
	transfer_meter_add(meter, &(struct transfer_sample){.time_ns = ms * NS_PER_MS, .bytes = bytes, .pages = pages, .faults = faults});
}

static bool is_about(double value, double wanted)
{
	return value > wanted * 0.999 && value < wanted * 1.001;
}

TEST(one_sample_says_nothing_about_a_rate)
{
	struct transfer_meter meter = {.count = 0};

	CHECK(transfer_meter_rates(&meter).bytes < 0);
	add(&meter, 0, 1000, 10, 1);
	CHECK(transfer_meter_rates(&meter).bytes < 0 && transfer_meter_rates(&meter).faults < 0);
	add(&meter, 10, 2000, 20, 2);
	CHECK(transfer_meter_rates(&meter).pages < 0);
}

TEST(rates_are_differences_by_time)
{
	struct transfer_meter meter = {.count = 0};
	struct transfer_rates rates;

	add(&meter, 1000, 1000, 10, 1);
	add(&meter, 3000, 5000, 20, 7);
	rates = transfer_meter_rates(&meter);
	CHECK(is_about(rates.bytes, 2000) && is_about(rates.pages, 5) && is_about(rates.faults, 3));
}

TEST(what_was_long_ago_does_not_count)
{
	struct transfer_meter meter = {.count = 0};

	add(&meter, 0, 0, 0, 0);
	add(&meter, 1000, 1000000, 0, 0);
	for (unsigned second = 2; second < 20; second++)
		add(&meter, second * 1000, 1000000 + second * 10, 0, 0);
	CHECK(is_about(transfer_meter_rates(&meter).bytes, 10));
}

TEST(more_samples_than_there_is_room_for_shorten_the_window)
{
	struct transfer_meter meter = {.count = 0};

	for (unsigned i = 0; i < 10 * TRANSFER_SAMPLES_MAX; i++)
		add(&meter, i * 10, i * 10, i, 0);
	CHECK(meter.count == TRANSFER_SAMPLES_MAX);
	CHECK(is_about(transfer_meter_rates(&meter).bytes, 1000));
}

TEST(the_same_moment_twice_is_one_sample)
{
	struct transfer_meter meter = {.count = 0};

	add(&meter, 100, 1, 1, 1);
	add(&meter, 100, 2, 2, 2);
	CHECK(meter.count == 1 && meter.samples[0].bytes == 2);
}

TEST(who_goes_on_with_it_begins_to_count_anew)
{
	struct transfer_meter meter = {.count = 0};

	add(&meter, 0, 0, 1000, 0);
	add(&meter, 1000, 5000, 2000, 0);
	add(&meter, 2000, 6000, 10, 0);
	CHECK(transfer_meter_rates(&meter).pages < 0);
	add(&meter, 3000, 7000, 110, 0);
	CHECK(is_about(transfer_meter_rates(&meter).pages, 100));
}

TEST(what_is_left_by_the_rate_is_the_time_it_takes)
{
	CHECK(transfer_eta_ms(1000, 500) == 2000);
	CHECK(transfer_eta_ms(0, -1) == 0 && transfer_eta_ms(0, 0) == 0);
	CHECK(transfer_eta_ms(1, 0) == -1 && transfer_eta_ms(1, -1) == -1);
	CHECK(transfer_eta_ms(~0ULL, 0.001) == -1);
}
