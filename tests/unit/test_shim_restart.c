/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "shim/restart.h"
#include "tests/unit/harness.h"

static exit_record ended(uint32_t code)
{
	exit_record exit = HYDRA__V1__EXIT_RECORD__INIT;

	exit.is_known = true;
	exit.exit_code = code;
	return exit;
}

static Hydra__V1__RestartPolicy policy(Hydra__V1__RestartMode mode, uint32_t retries)
{
	Hydra__V1__RestartPolicy result = HYDRA__V1__RESTART_POLICY__INIT;

	result.mode = mode;
	result.maximum_retries = retries;
	return result;
}

TEST(a_policy_decides_by_the_status_and_the_count)
{
	Hydra__V1__RestartPolicy on_failure = policy(HYDRA__V1__RESTART_MODE__RESTART_ON_FAILURE, 2);
	Hydra__V1__RestartPolicy always = policy(HYDRA__V1__RESTART_MODE__RESTART_ALWAYS, 0);
	exit_record good = ended(0), bad = ended(1), unknown = ended(0);

	unknown.is_known = false;
	CHECK(!restart_is_due(NULL, &bad, 0, false));
	CHECK(!restart_is_due(&on_failure, &good, 0, false));
	CHECK(restart_is_due(&on_failure, &bad, 1, false));
	CHECK(!restart_is_due(&on_failure, &bad, 2, false));
	CHECK(restart_is_due(&on_failure, &unknown, 0, false));
	CHECK(restart_is_due(&always, &good, 1000, false));
}

TEST(what_a_person_stopped_stays_stopped)
{
	Hydra__V1__RestartPolicy always = policy(HYDRA__V1__RESTART_MODE__RESTART_ALWAYS, 0);
	exit_record bad = ended(137);

	CHECK(!restart_is_due(&always, &bad, 0, true));
}

TEST(the_delays_are_dockers)
{
	static const uint64_t expected_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000};
	uint64_t delay = 0;

	for (size_t i = 0; i < sizeof(expected_ms) / sizeof(expected_ms[0]); i++) {
		delay = restart_delay(delay, 10 * NS_PER_S - 1);
		CHECK(delay == expected_ms[i] * NS_PER_MS);
	}
}

TEST(who_ran_ten_seconds_waits_as_the_first_time)
{
	CHECK(restart_delay(60 * NS_PER_S, 10 * NS_PER_S) == 100 * NS_PER_MS);
	CHECK(restart_delay(100 * NS_PER_MS, 3600 * NS_PER_S) == 100 * NS_PER_MS);
	CHECK(restart_delay(0, 10 * NS_PER_S) == 100 * NS_PER_MS);
	CHECK(restart_delay(100 * NS_PER_MS, 10 * NS_PER_S - 1) == 200 * NS_PER_MS);
}

TEST(on_failure_counts_restarts_not_runs)
{
	Hydra__V1__RestartPolicy on_failure = policy(HYDRA__V1__RESTART_MODE__RESTART_ON_FAILURE, 3);
	exit_record bad = ended(1);
	uint32_t count = 0;

	while (restart_is_due(&on_failure, &bad, count, false))
		count++;
	CHECK(count == 3);
	on_failure.maximum_retries = 0;
	CHECK(restart_is_due(&on_failure, &bad, UINT32_MAX, false));
}
