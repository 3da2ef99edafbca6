/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/drain_moves.h"

#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/migration_file.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#define LOOK_MS     500
#define START_MS    30000 /* until a worker has begun */
#define CALL_MS     30000

enum move_state { MOVE_WAITS, MOVE_RUNS, MOVE_FAILED, MOVE_DONE };

struct move {
	const struct drain_step *step;
	enum move_state state;
	char *migration;
	int waited_ms;   /* for its file */
};

static volatile sig_atomic_t was_interrupted;

static void interrupt(int signal_number)
{
	(void) signal_number;
	was_interrupted = 1;
}

void drain_tell(const struct cli *cli, const struct drain_step *step, const char *event, const char *detail)
{
	const struct host_container *container = step->container;
	const char *target = step->target != NULL ? step->target->name : "";
	auto_free char *safe = progress_safe(detail);

	if (cli_wants_json(cli))
		(void) printf("{\"event\":\"%s\",\"namespace\":\"%s\",\"container\":\"%s\",\"host\":\"%s\",\"memoryBytes\":%llu,\"detail\":\"%s\"}\n", event,
			      container->namespace, container->id, target, (unsigned long long) container->memory_bytes, safe);
	else
		(void) printf("%s/%s: %s%s%s%s%s\n", container->namespace, container->id, event, target[0] != '\0' ? " to " : "", target,
			      detail[0] != '\0' ? ": " : "", detail);
	(void) fflush(stdout);
}

static void conclude(struct drain_moves *self, struct move *move, bool is_moved, const char *detail)
{
	move->state = is_moved ? MOVE_DONE : MOVE_FAILED;
	self->moved += is_moved;
	self->failed += !is_moved;
	drain_tell(self->cli, move->step, is_moved ? "moved" : "not moved", detail);
}

static void start(struct drain_moves *self, struct move *move)
{
	Hydra__V1__MigrateRequest request = *self->way;
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	struct error err;

	request.namespace_ = (char *) (uintptr_t) move->step->container->namespace;
	request.id = (char *) (uintptr_t) move->step->container->id;
	request.host = move->step->target->name;
	if (cli_call_daemon(self->cli, "Migrate", &request.base, &hydra__v1__migration_status__descriptor, CALL_MS, &status, &err) < 0) {
		conclude(self, move, false, err.message);
		return;
	}
	move->migration = text_copy(status->id);
	move->state = MOVE_RUNS;
	drain_tell(self->cli, move->step, "moving", "");
}

static void look(struct drain_moves *self, struct move *move, int waited_ms)
{
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	struct error err;
	char detail[64], duration[32];

	if (migration_file_read(self->cli->root, move->migration, &status, NULL, &err) < 0) {
		move->waited_ms += waited_ms;
		if (move->waited_ms > START_MS)
			conclude(self, move, false, err.message);
		return;
	}
	if (!status->is_done)
		return;
	format_duration(status->downtime_us * 1000, duration, sizeof(duration));
	(void) text_fit(detail, sizeof(detail), "stood still for %s", duration);
	conclude(self, move, !status->has_failed, status->has_failed ? status->message : detail);
}

/* What was handed over arrives all the same. */
static void cancel_all(struct drain_moves *self, struct move *moves)
{
	for (size_t i = 0; i < self->count; i++) {
		Hydra__V1__MigrationRequest request = HYDRA__V1__MIGRATION_REQUEST__INIT;
		auto_message ProtobufCMessage *response = NULL;
		struct error ignored;

		request.id = moves[i].migration;
		if (moves[i].state == MOVE_RUNS)
			(void) cli_call_daemon(self->cli, "CancelMigration", &request.base, &hydra__v1__empty__descriptor, CALL_MS, &response, &ignored);
	}
	(void) fputs("cancelling; what was handed over already arrives all the same\n", stderr);
}

/* Another one is just bringing the layer that it needs, too: afterwards that is there, and need not be sent again. */
static bool is_worth_waiting(const struct drain_moves *self, const struct move *moves, const struct move *move)
{
	bool is_on_its_way = false;

	for (size_t i = 0; i < self->count && move->step->layer[0] != '\0'; i++) {
		if (moves[i].step->target != move->step->target || strcmp(moves[i].step->layer, move->step->layer) != 0)
			continue;
		if (moves[i].state == MOVE_DONE)
			return false;
		is_on_its_way |= moves[i].state == MOVE_RUNS;
	}
	return is_on_its_way;
}

/* How many run. */
static unsigned start_more(struct drain_moves *self, struct move *moves)
{
	unsigned running = 0;

	for (size_t i = 0; i < self->count; i++)
		running += moves[i].state == MOVE_RUNS;
	for (size_t i = 0; i < self->count && running < self->parallel; i++) {
		bool may_start = !was_interrupted && (self->failed == 0 || self->keeps_going);

		if (!may_start || moves[i].state != MOVE_WAITS || is_worth_waiting(self, moves, &moves[i]))
			continue;
		start(self, &moves[i]);
		running += moves[i].state == MOVE_RUNS;
	}
	return running;
}

/* How long it waited when nothing happened; else 0. */
static int await_news(int watch_fd)
{
	struct pollfd event = {.fd = watch_fd, .events = POLLIN};
	char news[4096];
	int r = poll(&event, 1, LOOK_MS);

	while (read(watch_fd, news, sizeof(news)) > 0)
		continue;
	return r == 0 ? LOOK_MS : 0;
}

static void run(struct drain_moves *self, struct move *moves, int watch_fd)
{
	bool is_cancelled = false;
	int waited_ms = 0;

	while (start_more(self, moves) > 0) {
		if (was_interrupted && !is_cancelled) {
			is_cancelled = true;
			cancel_all(self, moves);
		}
		for (size_t i = 0; i < self->count; i++) {
			if (moves[i].state == MOVE_RUNS)
				look(self, &moves[i], waited_ms);
		}
		waited_ms = await_news(watch_fd);
	}
}

int drain_moves_run(struct drain_moves *self, struct error *err)
{
	auto_free char *folder = migration_folder(self->cli->root);
	auto_close int watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct move *moves = calloc(self->count + 1, sizeof(*moves));
	struct sigaction action = {.sa_handler = interrupt};

	if (moves == NULL)
		return fail_errno(err, ENOMEM, "move containers");
	if (watch_fd < 0 || inotify_add_watch(watch_fd, folder, IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE) < 0) {
		free(moves);
		return fail_errno(err, errno, "watch '%s'", folder);
	}
	(void) sigaction(SIGINT, &action, NULL);
	(void) sigaction(SIGTERM, &action, NULL);
	for (size_t i = 0; i < self->count; i++)
		moves[i] = (struct move){.step = &self->steps[i], .state = self->steps[i].target != NULL ? MOVE_WAITS : MOVE_FAILED};
	run(self, moves, watch_fd);
	for (size_t i = 0; i < self->count; i++) {
		if (moves[i].state == MOVE_WAITS)
			drain_tell(self->cli, moves[i].step, "left here", "");
		free(moves[i].migration);
	}
	free(moves);
	return was_interrupted ? fail_because(err, EINTR, "interrupted: %zu moved, the rest is where it was", self->moved) : 0;
}
