/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl drain: empties this host. It keeps nothing: what is still here is what is left to do, so running it again goes on.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/drain_moves.h"
#include "cli/migrate.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TARGETS_MAX  64
#define PARALLEL_MAX 64

struct drain_options {
	struct migrate_way way;
	const char *to, *order;
	int parallel;
	bool keeps_going, dry_run;
};

static const struct option_entry drain_entries[] = {
	MIGRATE_WAY_ENTRIES,
	{0, "to", "HOST[,HOST...]", OPTION_STRING, offsetof(struct drain_options, to), "where to: names of hydractl host, or HOST:PORT"},
	{0, "order", "ORDER", OPTION_STRING, offsetof(struct drain_options, order), "smallest (the default), largest, name or youngest first"},
	{0, "parallel", "N", OPTION_INT, offsetof(struct drain_options, parallel), "so many at a time (default 1)"},
	{0, "keep-going", NULL, OPTION_FLAG, offsetof(struct drain_options, keeps_going), "also when one can't be moved"},
	{0, "dry-run", NULL, OPTION_FLAG, offsetof(struct drain_options, dry_run), "say what would be done"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

struct drain {
	const struct cli *cli;
	const struct drain_options *options;
	Hydra__V1__MigrateRequest way;
	enum drain_order order;
	struct host_report here;
	struct host_report targets[TARGETS_MAX];
	size_t target_count;
	struct drain_step *steps;
};

static int parse_order(const char *text, enum drain_order *ret_order, struct error *err)
{
	static const char *const names[] = {[DRAIN_SMALLEST_FIRST] = "smallest", [DRAIN_LARGEST_FIRST] = "largest", [DRAIN_BY_NAME] = "name",
					    [DRAIN_YOUNGEST_FIRST] = "youngest"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (text == NULL || strcmp(text, names[i]) == 0) {
			*ret_order = (enum drain_order) i;
			return 0;
		}
	}
	return fail_because(err, EINVAL, "option --order: '%s': expected smallest, largest, name or youngest", text);
}

static int ask_target(struct drain *self, const known_hosts *hosts, const char *name, struct error *err)
{
	known_host given = HYDRA__V1__KNOWN_HOST__INIT;
	const known_host *host = &given;
	int r = 0;

	if (self->target_count == TARGETS_MAX)
		return fail_because(err, EINVAL, "option --to: more than %d hosts", TARGETS_MAX);
	given.name = given.address = (char *) (uintptr_t) name;
	if (strchr(name, ':') != NULL)
		r = host_address_check(name, err);
	else
		host = hosts_find(hosts, name);
	if (host == NULL)
		r = fail_because(err, EINVAL, "option --to: '%s': expected HOST:PORT, or a name that hydractl host list knows", name);
	return r < 0 ? r : host_report_ask(&self->targets[self->target_count++], self->cli, host, err);
}

static int ask_targets(struct drain *self, struct error *err)
{
	auto_message known_hosts *hosts = NULL;
	auto_free char *names = text_copy(self->options->to);
	char *rest = NULL;
	int r = hosts_load(&hosts, err);

	for (char *name = strtok_r(names, ",", &rest); r == 0 && name != NULL; name = strtok_r(NULL, ",", &rest))
		r = ask_target(self, hosts, name, err);
	if (r == 0 && self->target_count == 0)
		r = fail_because(err, EINVAL, "missing option: --to HOST[,HOST...]");
	return r;
}

/* 0: the target can have it. */
static int ask_preflight(const struct drain *self, struct drain_step *step, const struct host_report *target, struct preflight_answer *ret_answer)
{
	Hydra__V1__MigrateRequest request = self->way;
	struct error err;
	int r;

	request.namespace_ = (char *) (uintptr_t) step->container->namespace;
	request.id = (char *) (uintptr_t) step->container->id;
	request.host = target->name;
	r = preflight_ask(self->cli, &request, ret_answer, &err);
	if (r < 0)
		(void) text_fit(ret_answer->why, sizeof(ret_answer->why), "%.300s", err.message);
	if (r == 0)
		(void) text_fit(step->layer, sizeof(step->layer), "%s", ret_answer->layer);
	return r;
}

/* The plan knows memory and names; the rest the hosts tell. When the target that was chosen can't have it, another one may. */
static void check_step(const struct drain *self, struct drain_step *step)
{
	const struct host_report *chosen = step->target;
	struct preflight_answer answer;

	if (ask_preflight(self, step, chosen, &answer) == 0)
		return;
	(void) text_fit(step->why, sizeof(step->why), "%s", answer.why);
	step->target = NULL;
	for (size_t i = 0; i < self->target_count && step->target == NULL; i++) {
		if (&self->targets[i] != chosen && drain_target_fits(step->container, &self->targets[i]) &&
		    ask_preflight(self, step, &self->targets[i], &answer) == 0)
			step->target = &self->targets[i];
	}
}

static void check_steps(const struct drain *self)
{
	bool is_shown = !self->cli->plain && !cli_wants_json(self->cli) && isatty(STDERR_FILENO);

	for (size_t i = 0; i < self->here.container_count; i++) {
		if (is_shown)
			(void) fprintf(stderr, "\rlooking at what may be in the way, %zu of %zu", i + 1, self->here.container_count);
		if (self->steps[i].target != NULL)
			check_step(self, &self->steps[i]);
	}
	if (is_shown)
		(void) fputs("\r\033[K", stderr);
}

/* Before anything is moved. How many can't be. */
static size_t name_what_stays(const struct drain *self)
{
	size_t count = 0;

	for (size_t i = 0; i < self->here.container_count; i++) {
		if (self->steps[i].target != NULL)
			continue;
		drain_tell(self->cli, &self->steps[i], "can't be moved", self->steps[i].why);
		count++;
	}
	return count;
}

static int move_all(struct drain *self, size_t immovable, struct error *err)
{
	struct drain_moves moves = {.cli = self->cli, .way = &self->way, .steps = self->steps, .count = self->here.container_count,
				    .parallel = self->options->parallel > 0 ? (unsigned) self->options->parallel : 1,
				    .keeps_going = self->options->keeps_going};
	int r = drain_moves_run(&moves, err);

	if (r < 0)
		return r;
	if (!cli_wants_json(self->cli))
		(void) printf("moved %zu of %zu containers\n", moves.moved, self->here.container_count);
	return moves.failed > 0 || immovable > 0;
}

static int carry_out(struct drain *self, struct error *err)
{
	size_t immovable;

	self->steps = drain_plan(&self->here, self->targets, self->target_count, self->order);
	if (self->steps == NULL)
		return fail_errno(err, ENOMEM, "plan moves");
	check_steps(self);
	immovable = name_what_stays(self);
	if (self->options->dry_run) {
		for (size_t i = 0; i < self->here.container_count; i++) {
			if (self->steps[i].target != NULL)
				drain_tell(self->cli, &self->steps[i], "would be moved", "");
		}
		return immovable > 0;
	}
	if (immovable > 0 && !self->options->keeps_going) {
		(void) fputs("hydractl: nothing was moved; --keep-going moves what can be\n", stderr);
		return 1;
	}
	return move_all(self, immovable, err);
}

static int drain(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	struct drain self = {.cli = cli, .options = context, .way = HYDRA__V1__MIGRATE_REQUEST__INIT};
	auto_free char *certificates = NULL;
	int r = self.options->to == NULL ? fail_because(err, EINVAL, "missing option: --to HOST[,HOST...]") : 0;

	(void) rest;
	if (r == 0 && (self.options->parallel < 0 || self.options->parallel > PARALLEL_MAX))
		r = fail_because(err, EINVAL, "option --parallel: expected 1 to %d", PARALLEL_MAX);
	if (r == 0)
		r = parse_order(self.options->order, &self.order, err);
	if (r == 0)
		r = migrate_way_parse(&self.options->way, &self.way, &certificates, err);
	if (r == 0)
		r = host_report_ask(&self.here, cli, NULL, err);
	if (r == 0)
		r = ask_targets(&self, err);
	if (r == 0)
		r = carry_out(&self, err);
	free(self.steps);
	for (size_t i = 0; i < self.target_count; i++)
		host_report_deinit(&self.targets[i]);
	host_report_deinit(&self.here);
	return r;
}

const struct command command_drain = {
	"drain", "--to HOST[,HOST...] [OPTIONS]", "move all running containers of this host to others", drain_entries, sizeof(struct drain_options), 0,
	0, false, drain};
