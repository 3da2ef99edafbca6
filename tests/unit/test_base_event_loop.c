/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/owned.h"
#include "tests/unit/harness.h"

#include <unistd.h>

struct pair {
	struct event_loop *loop;
	struct event_source first, second;
	int handled;
};

static void remove_other(struct event_source *source, uint32_t events)
{
	struct pair *pair = source->context;

	(void) events;
	pair->handled++;
	event_loop_remove(pair->loop, source == &pair->first ? &pair->second : &pair->first);
	event_loop_stop(pair->loop, 0);
}

TEST(a_source_removed_in_a_round_is_not_called_in_it)
{
	struct event_loop loop;
	struct pair pair = {.loop = &loop};
	struct error err;
	int pipes[2][2];

	CHECK(event_loop_init(&loop, &err) == 0);
	CHECK(pipe(pipes[0]) == 0 && pipe(pipes[1]) == 0);
	CHECK(write(pipes[0][1], "x", 1) == 1 && write(pipes[1][1], "x", 1) == 1);
	pair.first = (struct event_source){.handle = remove_other, .context = &pair};
	pair.second = pair.first;
	CHECK(event_loop_add(&loop, &pair.first, pipes[0][0], EPOLLIN, &err) == 0);
	CHECK(event_loop_add(&loop, &pair.second, pipes[1][0], EPOLLIN, &err) == 0);
	CHECK(event_loop_run(&loop) == 0);
	CHECK(pair.handled == 1);
	for (int i = 0; i < 4; i++)
		(void) close(pipes[i / 2][i % 2]);
	event_loop_deinit(&loop);
}

static int order[3];
static int fired;

static void note(struct event_timer *timer)
{
	order[fired++] = *(int *) timer->context;
}

TEST(timers_fire_once_in_the_order_of_their_time)
{
	struct event_loop loop;
	struct error err;
	int numbers[] = {0, 1, 2};
	struct event_timer timers[3];

	CHECK(event_loop_init(&loop, &err) == 0);
	for (int i = 0; i < 3; i++)
		timers[i] = (struct event_timer){.handle = note, .context = &numbers[i]};
	event_loop_arm(&loop, &timers[2], 3 * NS_PER_MS);
	event_loop_arm(&loop, &timers[0], 50 * NS_PER_S);
	event_loop_arm(&loop, &timers[1], 2 * NS_PER_MS);
	event_loop_arm(&loop, &timers[0], 1 * NS_PER_MS);
	while (fired < 3)
		event_loop_turn(&loop, -1);
	CHECK(order[0] == 0 && order[1] == 1 && order[2] == 2);
	CHECK(loop.timers == NULL);
	event_loop_deinit(&loop);
}

static int caught;

static void catch_signal(struct event_loop *loop, const int signal_number, void *context)
{
	(void) context;
	caught = signal_number;
	event_loop_stop(loop, 3);
}

TEST(a_signal_arrives_in_the_loop)
{
	struct event_loop loop;
	struct error err;
	sigset_t mask;

	CHECK(event_loop_init(&loop, &err) == 0);
	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGUSR1);
	CHECK(event_loop_watch_signals(&loop, &mask, catch_signal, NULL, &err) == 0);
	CHECK(raise(SIGUSR1) == 0);
	CHECK(event_loop_run(&loop) == 3);
	CHECK(caught == SIGUSR1);
	event_loop_deinit(&loop);
}
