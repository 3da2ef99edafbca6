/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/drain_plan.h"
#include "cli/rebalance_plan.h"
#include "tests/unit/harness.h"

#include <stdlib.h>
#include <string.h>

#define MIB (1ULL << 20)

static struct host_container container(const char *id, uint64_t memory_mib, double processors)
{
	return (struct host_container){.namespace = "default", .id = id, .immovable = "", .memory_bytes = memory_mib * MIB,
				       .age_ns = memory_mib, .processors = processors};
}

/* Of 1000 MiB and 2 processors. */
static struct host_report host(const char *name, uint64_t available_mib, struct host_container *containers, size_t count)
{
	return (struct host_report){.name = (char *) (uintptr_t) name, .problem = "", .memory_bytes = 1000 * MIB,
				    .available_bytes = available_mib * MIB, .processors = 2, .containers = containers, .container_count = count};
}

TEST(the_smallest_goes_first_and_to_where_most_is_free)
{
	struct host_container own[] = {container("large", 400, 0), container("small", 10, 0), container("middle", 100, 0)};
	struct host_report from = host("", 100, own, 3), targets[] = {host("b", 500, NULL, 0), host("c", 600, NULL, 0)};
	struct drain_step *steps = drain_plan(&from, targets, 2, DRAIN_SMALLEST_FIRST);

	CHECK(strcmp(steps[0].container->id, "small") == 0 && steps[0].target == &targets[1]);
	CHECK(strcmp(steps[1].container->id, "middle") == 0 && steps[1].target == &targets[1]);
	CHECK(strcmp(steps[2].container->id, "large") == 0 && steps[2].target == &targets[0]);
	free(steps);
	steps = drain_plan(&from, targets, 2, DRAIN_LARGEST_FIRST);
	CHECK(strcmp(steps[0].container->id, "large") == 0);
	free(steps);
	steps = drain_plan(&from, targets, 2, DRAIN_BY_NAME);
	CHECK(strcmp(steps[1].container->id, "middle") == 0);
	free(steps);
}

TEST(what_cannot_move_is_told_with_all_reasons)
{
	struct host_container own[] = {container("a", 10, 0), container("b", 900, 0), container("bundle", 1, 0)};
	struct host_container theirs[] = {container("a", 1, 0)};
	struct host_report from = host("", 100, own, 3), targets[] = {host("one", 500, theirs, 1), host("two", 500, NULL, 0)};
	struct drain_step *steps;

	own[2].immovable = "it was made from a bundle";
	targets[1].problem = "no CRIU";
	steps = drain_plan(&from, targets, 2, DRAIN_SMALLEST_FIRST);
	CHECK(steps[0].target == NULL && strcmp(steps[0].why, "it was made from a bundle") == 0);
	CHECK(steps[1].target == NULL && strcmp(steps[1].why, "one: a container of this name is there; two: no CRIU") == 0);
	CHECK(steps[2].target == NULL && strstr(steps[2].why, "one: not enough memory") != NULL);
	free(steps);
}

TEST(hosts_that_are_well_are_left_alone)
{
	struct host_container own[] = {container("a", 300, 0.5)};
	struct host_report hosts[] = {host("a", 400, own, 1), host("b", 900, NULL, 0)};
	struct rebalance_move moves[REBALANCE_MOVES_MAX];

	CHECK(rebalance_plan(hosts, 2, moves) == 0);
}

TEST(a_host_that_is_too_full_gives_away_until_it_is_not)
{
	struct host_container own[] = {container("small", 60, 0), container("large", 400, 0), container("fixed", 500, 0)};
	struct host_report hosts[] = {host("a", 20, own, 3), host("b", 700, NULL, 0)};
	struct rebalance_move moves[REBALANCE_MOVES_MAX];

	own[2].immovable = "it uses the network of its host";
	CHECK(rebalance_plan(hosts, 2, moves) == 1);
	CHECK(moves[0].container == &own[1] && moves[0].to == &hosts[1] && moves[0].reason == REBALANCE_MEMORY);
	CHECK(strstr(moves[0].words, "98 % of a's memory") != NULL && strstr(moves[0].words, "b 70 %") != NULL);
}

TEST(what_waits_for_a_processor_moves_to_where_one_is_free)
{
	struct host_container own[] = {container("idle", 10, 0.01), container("busy", 10, 1.2)};
	struct host_report hosts[] = {host("a", 900, own, 2), host("b", 900, NULL, 0)};
	struct rebalance_move moves[REBALANCE_MOVES_MAX];

	hosts[0].load_percent = 90;
	hosts[0].cpu_pressure = 40;
	CHECK(rebalance_plan(hosts, 2, moves) == 1);
	CHECK(moves[0].container == &own[1] && moves[0].reason == REBALANCE_CPU && strstr(moves[0].words, "40.0 %") != NULL);
}

TEST(nobody_takes_what_would_make_him_too_full_himself)
{
	struct host_container own[] = {container("large", 800, 0)}, theirs[] = {container("large", 1, 0)};
	struct host_report hosts[] = {host("a", 50, own, 1), host("b", 700, NULL, 0), host("c", 1000, theirs, 1), host("d", 1000, NULL, 0)};
	struct rebalance_move moves[REBALANCE_MOVES_MAX];

	hosts[3].problem = "connection refused";
	CHECK(rebalance_plan(hosts, 4, moves) == 0);
}

TEST(a_report_is_read_as_it_is_and_rubbish_refused)
{
	struct host_report report;
	struct error err;

	CHECK(host_report_parse(&report, "b", "{\"problem\":\"\",\"criuProblem\":\"none\",\"memoryBytes\":10,\"cpuPressurePercent\":null,"
			       "\"memoryPressurePercent\":1.5,\"containers\":[{\"namespace\":\"n\",\"id\":\"x\",\"cpuNs\":5,\"ageNs\":10}]}", &err) == 0);
	CHECK(strcmp(report.problem, "none") == 0 && report.memory_bytes == 10 && report.cpu_pressure < 0 && report.memory_pressure == 1.5);
	CHECK(report.container_count == 1 && report.containers[0].processors == 0.5 && host_report_has(&report, "n", "x"));
	host_report_deinit(&report);
	CHECK(host_report_parse(&report, "b", "no", &err) < 0);
	host_report_deinit(&report);
}
