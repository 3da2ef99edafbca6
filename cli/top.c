/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl top: what containers use and how their shims are, again and again.
 */
#include "cli/top.h"

#include "base/clock.h"
#include "base/descriptor_limit.h"
#include "base/number.h"
#include "base/owned.h"
#include "proto/message.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_NS       NS_PER_S
#define LEDGER_TIMEOUT_MS 500
#define INTERVAL_LEAST_NS (100 * NS_PER_MS)
/* The other screen, without a cursor; and back. */
#define SCREEN_BEGIN "\033[?1049h\033[?25l"
#define SCREEN_END   "\033[?25h\033[?1049l"

struct top_options {
	const char *interval, *sort;
	bool once, all, all_namespaces;
};

static const struct option_entry top_entries[] = {
	{'a', "all", NULL, OPTION_FLAG, offsetof(struct top_options, all), "stopped ones too"},
	ALL_NAMESPACES_ENTRY(struct top_options, all_namespaces),
	{0, "sort", "KEY", OPTION_STRING, offsetof(struct top_options, sort), "name (the default), cpu or memory: who uses most comes first"},
	{0, "interval", "TIME", OPTION_STRING, offsetof(struct top_options, interval), "between two looks (default 2s)"},
	{0, "once", NULL, OPTION_FLAG, offsetof(struct top_options, once), "look once, as it is when the output is no terminal"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static void print_and_go_on(struct top *self)
{
	uint64_t spent_ns = clock_monotonic_ns() - self->began_ns;
	struct error ignored;

	self->is_looking = false;
	message_free(self->ledger);
	self->ledger = NULL;
	(void) cli_ledger(self->cli, LEDGER_TIMEOUT_MS, &self->ledger, &ignored);
	top_print(self);
	if (fflush(stdout) != 0 || self->is_once)
		event_loop_stop(&self->loop, 0);
	event_loop_arm(&self->loop, &self->timer, spent_ns < self->interval_ns ? self->interval_ns - spent_ns : 1);
}

void top_answered(struct top *self)
{
	/* not from within an answer: what is asked then may close the connection that is being read */
	if (self->is_looking && top_awaited(self) == 0)
		event_loop_arm(&self->loop, &self->timer, 0);
}

static void look(struct top *self)
{
	uint64_t patience_ns = self->interval_ns < PATIENCE_NS ? self->interval_ns : PATIENCE_NS;

	self->began_ns = clock_monotonic_ns();
	self->is_looking = true;
	top_ask(self);
	event_loop_arm(&self->loop, &self->timer, top_awaited(self) > 0 ? patience_ns : 0);
}

static void handle_timer(struct event_timer *timer)
{
	struct top *self = timer->context;

	if (self->is_looking)
		print_and_go_on(self);
	else
		look(self);
}

static void handle_signal(struct event_loop *loop, const int signal_number, void *context)
{
	if (signal_number == SIGWINCH)
		top_print(context);
	else
		event_loop_stop(loop, 0);
}

static int begin(struct top *self, struct error *err)
{
	sigset_t mask;
	int r = event_loop_init(&self->loop, err);

	(void) sigemptyset(&mask);
	(void) sigaddset(&mask, SIGINT);
	(void) sigaddset(&mask, SIGTERM);
	(void) sigaddset(&mask, SIGHUP);
	(void) sigaddset(&mask, SIGWINCH);
	if (r == 0 && self->is_screen)
		r = event_loop_watch_signals(&self->loop, &mask, handle_signal, self, err);
	(void) descriptor_limit_raise();
	self->timer = (struct event_timer){.handle = handle_timer, .context = self};
	return r;
}

static int parse_interval(const char *text, uint64_t *ret_ns, struct error *err)
{
	if (number_parse_duration(text, ret_ns) < 0 || *ret_ns < INTERVAL_LEAST_NS)
		return fail_because(err, EINVAL, "option --interval: '%s': expected a time from 100ms on", text);
	return 0;
}

static int parse_order(const char *text, enum top_order *ret_order, struct error *err)
{
	static const char *const names[] = {[TOP_BY_NAME] = "name", [TOP_BY_CPU] = "cpu", [TOP_BY_MEMORY] = "memory"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret_order = (enum top_order) i;
			return 0;
		}
	}
	return fail_because(err, EINVAL, "option --sort: '%s': expected name, cpu or memory", text);
}

static int top_command(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct top_options *options = context;
	bool is_terminal = isatty(STDOUT_FILENO);
	struct top self = {.cli = cli,
			   .interval_ns = 2 * NS_PER_S,
			   .is_once = options->once || (!is_terminal && !cli_wants_json(cli)),
			   .is_screen = is_terminal && !options->once && !cli_wants_json(cli),
			   .shows_all = options->all,
			   .all_namespaces = options->all_namespaces};
	int r = options->interval != NULL ? parse_interval(options->interval, &self.interval_ns, err) : 0;

	(void) rest;
	if (r == 0 && options->sort != NULL)
		r = parse_order(options->sort, &self.order, err);
	if (r == 0)
		r = begin(&self, err);
	if (r < 0)
		return r;
	if (self.is_screen)
		(void) fputs(SCREEN_BEGIN, stdout);
	look(&self);
	r = event_loop_run(&self.loop);
	if (self.is_screen)
		(void) fputs(SCREEN_END, stdout);
	(void) fflush(stdout);
	top_forget_all(&self);
	message_free(self.ledger);
	event_loop_deinit(&self.loop);
	return r;
}

const struct command command_top = {
	"top", "[OPTIONS]", "what containers use and how their shims are, live", top_entries, sizeof(struct top_options), 0, 0, false,
	top_command};
