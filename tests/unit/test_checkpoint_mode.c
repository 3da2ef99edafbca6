/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "checkpoint/mode.h"
#include "checkpoint/problems.h"
#include "checkpoint/rounds.h"
#include "checkpoint/survey.h"
#include "tests/unit/harness.h"

#define MIB (1ULL << 20)

TEST(modes_have_names)
{
	handoff_mode mode;

	for (int number = 0; number <= HYDRA__V1__HANDOFF_MODE__HANDOFF_AUTO; number++) {
		CHECK(mode_parse(mode_name((handoff_mode) number), &mode) == 0);
		CHECK((int) mode == number);
	}
	CHECK(mode_parse("warm", &mode) == -EINVAL);
	CHECK(strcmp(mode_name((handoff_mode) 99), "unknown") == 0);
}

TEST(the_best_mode_that_both_hosts_can_do_is_chosen)
{
	const char *why = NULL;

	CHECK(mode_choose(&(struct mode_facts){true, true}, &why) == HYDRA__V1__HANDOFF_MODE__HANDOFF_POST_COPY && why != NULL);
	CHECK(mode_choose(&(struct mode_facts){true, false}, &why) == HYDRA__V1__HANDOFF_MODE__HANDOFF_POST_COPY);
	CHECK(mode_choose(&(struct mode_facts){false, true}, &why) == HYDRA__V1__HANDOFF_MODE__HANDOFF_PRE_COPY);
	CHECK(mode_choose(&(struct mode_facts){false, false}, &why) == HYDRA__V1__HANDOFF_MODE__HANDOFF_COLD);
}

TEST(rounds_go_on_while_each_leaves_less)
{
	struct rounds rounds = {.limit = 10, .downtime_ms = 100};

	CHECK(rounds_add(&rounds, 1000 * MIB, 10 * NS_PER_S) == ROUNDS_GO_ON);
	CHECK(rounds_add(&rounds, 500 * MIB, 5 * NS_PER_S) == ROUNDS_GO_ON);
	CHECK(rounds_add(&rounds, 100 * MIB, 1 * NS_PER_S) == ROUNDS_GO_ON);
	CHECK(rounds_add(&rounds, 5 * MIB, NS_PER_S / 10) == ROUNDS_GO_ON);
	CHECK(rounds_add(&rounds, MIB, NS_PER_S / 2) == ROUNDS_GO_ON);
	CHECK(rounds_add(&rounds, MIB / 2, NS_PER_S / 100) == ROUNDS_SMALL_ENOUGH);
}

TEST(rounds_end_when_they_stop_getting_smaller)
{
	struct rounds rounds = {.limit = 10, .downtime_ms = 100};

	CHECK(rounds_add(&rounds, 1000 * MIB, 10 * NS_PER_S) == ROUNDS_GO_ON);
	CHECK(rounds_add(&rounds, 950 * MIB, 10 * NS_PER_S) == ROUNDS_NO_PROGRESS);
}

TEST(there_are_not_more_rounds_than_allowed)
{
	struct rounds rounds = {.limit = 2, .downtime_ms = 1};

	CHECK(rounds_add(&rounds, 1000 * MIB, 10 * NS_PER_S) == ROUNDS_GO_ON);
	CHECK(rounds_add(&rounds, 500 * MIB, 10 * NS_PER_S) == ROUNDS_TOO_MANY);
}

TEST(a_round_without_pages_is_the_last)
{
	struct rounds rounds = {.limit = 10, .downtime_ms = 1};

	CHECK(rounds_add(&rounds, 0, NS_PER_MS) == ROUNDS_SMALL_ENOUGH);
}

TEST(all_problems_are_told_as_long_as_there_is_room)
{
	struct problems problems = {.host = "here"};
	struct error err = ERROR_NONE;

	CHECK(problems_fail(&problems, &err) == 0);
	problems_add(&problems, "close it", "process 7", "it has %d rings", 3);
	problems_add(&problems, NULL, "path", "it is missing");
	problems_add(&problems, "close it", "process 7", "it has %d rings", 3);
	CHECK(problems.count == 2);
	CHECK(problems_fail(&problems, &err) == -EOPNOTSUPP);
	CHECK(strcmp(err.message, "process 7: it has 3 rings (close it); path: it is missing") == 0);
	for (int i = 0; i < 100; i++)
		problems_add(&problems, NULL, "path", "it is missing for the %d. time, which is told at some length", i);
	CHECK(problems.count == PROBLEMS_MAX && problems.left_out == 100 + 2 - PROBLEMS_MAX);
	(void) problems_fail(&problems, &err);
	CHECK(strstr(err.message, "; and ") != NULL && strstr(err.message, " more") != NULL);
	problems_deinit(&problems);
}

TEST(memory_that_cannot_be_saved_is_seen_in_maps)
{
	CHECK(survey_map("7f0000000000-7f0000001000 rw-s 00000000 00:0e 1234 anon_inode:[io_uring]\n") != NULL);
	CHECK(survey_map("7f0000000000-7f0000200000 rw-p 00000000 00:0f 99 /anon_hugepage (deleted)\n") == NULL);
	CHECK(survey_map("7f0000000000-7f0000200000 rw-p 00000000 00:0f 99 /dev/hugepages/mine\n") != NULL);
	CHECK(survey_map("7f0000000000-7f0000001000 rw-s 00000000 00:06 10 /dev/mem\n") != NULL);
	CHECK(survey_map("7f0000000000-7f0000001000 rw-s 00000000 00:01 10 /dev/zero (deleted)\n") == NULL);
	CHECK(survey_map("7f0000000000-7f0000001000 rw-s 00000000 00:01 10 /dev/shm/mine\n") == NULL);
	CHECK(survey_map("7f0000000000-7f0000001000 r-xp 00000000 00:2f 10 /usr/bin/true\n/dev/mem") == NULL);
	CHECK(survey_map("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n") == NULL);
}
