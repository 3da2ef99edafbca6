/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "shim/health.h"
#include "tests/unit/harness.h"

#define STATUS(name) HYDRA__V1__HEALTH_STATUS__HEALTH_##name

static const Hydra__V1__HealthCheck three = {.base = PROTOBUF_C_MESSAGE_INIT(&hydra__v1__health_check__descriptor), .retries = 3,
					     .start_period_ns = 10 * NS_PER_S};

TEST(one_success_is_healthy)
{
	Hydra__V1__Health health = {.status = STATUS(STARTING), .failures = 2};

	CHECK(health_take(&health, &three, 0, NS_PER_S, 2 * NS_PER_S));
	CHECK(health.status == STATUS(HEALTHY) && health.failures == 0 && health.checked_ns == 2 * NS_PER_S);
	CHECK(!health_take(&health, &three, 0, NS_PER_S, 3 * NS_PER_S));
}

TEST(failures_in_a_row_are_unhealthy_and_one_success_mends)
{
	Hydra__V1__Health health = {.status = STATUS(HEALTHY)};

	CHECK(!health_take(&health, &three, 1, NS_PER_S, 2 * NS_PER_S));
	CHECK(!health_take(&health, &three, 137, NS_PER_S, 3 * NS_PER_S));
	CHECK(health.status == STATUS(HEALTHY) && health.exit_code == 137);
	CHECK(health_take(&health, &three, 1, NS_PER_S, 4 * NS_PER_S) && health.status == STATUS(UNHEALTHY) && health.failures == 3);
	CHECK(!health_take(&health, &three, 1, NS_PER_S, 5 * NS_PER_S) && health.failures == 4);
	CHECK(health_take(&health, &three, 0, NS_PER_S, 6 * NS_PER_S) && health.status == STATUS(HEALTHY));
}

TEST(failures_while_it_starts_do_not_count)
{
	Hydra__V1__Health health = {.status = STATUS(STARTING)};

	for (int i = 0; i < 5; i++)
		CHECK(!health_take(&health, &three, 1, NS_PER_S, 10 * NS_PER_S) && health.failures == 0);
	for (int i = 0; i < 2; i++)
		CHECK(!health_take(&health, &three, 1, NS_PER_S, 11 * NS_PER_S));
	CHECK(health_take(&health, &three, 1, NS_PER_S, 12 * NS_PER_S) && health.status == STATUS(UNHEALTHY));
}

TEST(without_a_number_three_failures_count)
{
	Hydra__V1__HealthCheck check = HYDRA__V1__HEALTH_CHECK__INIT;
	Hydra__V1__Health health = {.status = STATUS(STARTING)};

	CHECK(!health_take(&health, &check, 1, NS_PER_S, 2 * NS_PER_S));
	CHECK(!health_take(&health, &check, 1, NS_PER_S, 3 * NS_PER_S));
	CHECK(health_take(&health, &check, 1, NS_PER_S, 4 * NS_PER_S) && health.status == STATUS(UNHEALTHY));
}
