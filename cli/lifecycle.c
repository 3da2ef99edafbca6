/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl start, stop, kill, pause, resume, rm, wait, update.
 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/signals.h"
#include "proto/message.h"
#include "state/run_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int one_container(const struct cli *cli, const char *id, const void *options, struct error *err);

/* The same for each container named; goes on after a failure and reports every one. */
static int for_each(const struct cli *cli, const struct option_rest *rest, one_container *action, const void *options,
		    struct error *err)
{
	int failed = 0;

	for (int i = 0; i < rest->count; i++) {
		int r = action(cli, rest->positional[i], options, err);

		if (r >= 0) {
			(void) puts(rest->positional[i]);
			continue;
		}
		if (rest->count == 1)
			return r;
		failed = 1;
		(void) fprintf(stderr, "hydractl: %s\n", err->message);
	}
	return failed;
}

/* A shim that is not there means something else than one that refuses. */
static int explain(const struct cli *cli, const char *id, int r, struct error *err)
{
	struct container_view view;
	struct error about;

	if (r != -ENOENT && r != -ECONNREFUSED)
		return r;
	if (cli_view(cli, id, &view, &about) < 0)
		return fail_because(err, -about.code, "%s", about.message);
	if (!view.is_reachable)
		r = fail_because(err, EBUSY, "container '%s' is %s", id, view.state);
	container_view_deinit(&view);
	return r;
}

static int simple_call(const struct cli *cli, const char *id, const char *method, struct error *err)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message ProtobufCMessage *response = NULL;
	int r = cli_call_shim(cli, id, method, &request.base, &hydra__v1__empty__descriptor, 0, &response, err);

	return explain(cli, id, r, err);
}

static int start_one(const struct cli *cli, const char *id, const void *options, struct error *err)
{
	const char *const arguments[] = {"start", id, NULL};

	(void) options;
	return cli_setup(cli, arguments, NULL, 0, err);
}

static int start(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	return for_each(cli, rest, start_one, options, err);
}

const struct command command_start = {"start", "CONTAINER...", "start containers that are created or stopped", NULL, 0, 1, -1,
				      false,   start};

static int pause_one(const struct cli *cli, const char *id, const void *options, struct error *err)
{
	(void) options;
	return simple_call(cli, id, "Pause", err);
}

static int pause_command(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	return for_each(cli, rest, pause_one, options, err);
}

const struct command command_pause = {"pause", "CONTAINER...", "freeze all processes of containers", NULL, 0, 1, -1, false,
				      pause_command};

static int resume_one(const struct cli *cli, const char *id, const void *options, struct error *err)
{
	(void) options;
	return simple_call(cli, id, "Resume", err);
}

static int resume(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	return for_each(cli, rest, resume_one, options, err);
}

const struct command command_resume = {"resume", "CONTAINER...", "thaw paused containers", NULL, 0, 1, -1, false, resume};

struct stop_options {
	const char *timeout;
	const char *signal;
	bool all;
};

static const struct option_entry stop_entries[] = {
	{'t', "timeout", "SECONDS", OPTION_STRING, offsetof(struct stop_options, timeout),
	 "between the signal and SIGKILL (default: the container's)"},
	{'s', "signal", "SIGNAL", OPTION_STRING, offsetof(struct stop_options, signal), "the signal (default SIGTERM)"},
	{'a', "all", NULL, OPTION_FLAG, offsetof(struct stop_options, all), "every container of every namespace, all at the same time"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int stop_one(const struct cli *cli, const char *id, const void *context, struct error *err)
{
	const struct stop_options *options = context;
	Hydra__V1__StopRequest request = HYDRA__V1__STOP_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;
	struct container_view view;
	int timeout_s = 10;
	int signal_number = 0;
	int r = cli_view(cli, id, &view, err);

	if (r < 0)
		return r;
	timeout_s = (int) view.record->stop_timeout_s;
	r = strcmp(view.state, "stopped") == 0 && !view.record->restart_is_pending;
	container_view_deinit(&view);
	if (r > 0)
		return 0;
	if (options->timeout != NULL && number_parse_int(options->timeout, 0, 86400, &timeout_s) < 0)
		return fail_because(err, EINVAL, "option --timeout: '%s': expected seconds from 0 to 86400", options->timeout);
	if (options->signal != NULL && signal_parse(options->signal, &signal_number, err) < 0)
		return err->code;
	request.timeout_s = (uint32_t) timeout_s;
	request.signal = (uint32_t) signal_number;
	r = cli_call_shim(cli, id, "Stop", &request.base, &hydra__v1__wait_response__descriptor, 0, &response, err);
	return explain(cli, id, r, err);
}

struct everything {
	const struct cli *cli;
	const struct stop_options *options;
	bool has_failed;
};

static int stop_in_child(const struct everything *self, const char *namespace, const char *id)
{
	struct cli cli = *self->cli;
	struct error err;
	int r;

	cli.namespace = namespace;
	r = stop_one(&cli, id, self->options, &err);
	if (r < 0 && r != -ENOENT)
		(void) fprintf(stderr, "hydractl: %s/%s: %s\n", namespace, id, err.message);
	else if (r >= 0)
		(void) printf("%s/%s\n", namespace, id);
	(void) fflush(stdout);
	return r < 0 && r != -ENOENT;
}

/* A process for each: nobody waits for another one's time-out. */
static bool begin_to_stop(const char *namespace, const char *id, void *context)
{
	struct everything *self = context;
	pid_t pid = fork();

	if (pid == 0)
		_exit(stop_in_child(self, namespace, id));
	self->has_failed = self->has_failed || pid < 0;
	return true;
}

static int stop_everything(const struct cli *cli, const struct stop_options *options, struct error *err)
{
	struct everything everything = {.cli = cli, .options = options};
	int r = run_dir_visit(cli->root, NULL, begin_to_stop, &everything, err);
	int status;

	while (wait(&status) >= 0 || errno == EINTR)
		everything.has_failed = everything.has_failed || status != 0;
	return r < 0 ? r : everything.has_failed;
}

static int stop(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct stop_options *options = context;

	if (options->all == (rest->count > 0))
		return fail_because(err, EINVAL, "usage: hydractl stop [OPTIONS] CONTAINER..., or --all");
	return options->all ? stop_everything(cli, options, err) : for_each(cli, rest, stop_one, options, err);
}

const struct command command_stop = {
	"stop", "[OPTIONS] [CONTAINER...]", "end containers: SIGTERM, then SIGKILL", stop_entries, sizeof(struct stop_options), 0, -1,
	false,	stop};

struct kill_options {
	const char *signal;
	bool all;
};

static const struct option_entry kill_entries[] = {
	{'s', "signal", "SIGNAL", OPTION_STRING, offsetof(struct kill_options, signal), "name or number (default SIGKILL)"},
	{'a', "all", NULL, OPTION_FLAG, offsetof(struct kill_options, all), "every process, not only init"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int kill_one(const struct cli *cli, const char *id, const void *context, struct error *err)
{
	const struct kill_options *options = context;
	Hydra__V1__KillRequest request = HYDRA__V1__KILL_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;
	int number = 9;
	int r = options->signal != NULL ? signal_parse(options->signal, &number, err) : 0;

	if (r < 0)
		return r;
	request.signal = (uint32_t) number;
	request.all = options->all;
	r = cli_call_shim(cli, id, "Kill", &request.base, &hydra__v1__empty__descriptor, 0, &response, err);
	return explain(cli, id, r, err);
}

static int kill_command(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	return for_each(cli, rest, kill_one, options, err);
}

const struct command command_kill = {
	"kill", "[OPTIONS] CONTAINER...", "send a signal", kill_entries, sizeof(struct kill_options), 1, -1, false, kill_command};

struct rm_options {
	bool force;
};

static const struct option_entry rm_entries[] = {
	{'f', "force", NULL, OPTION_FLAG, offsetof(struct rm_options, force), "kill it when it runs"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int rm_one(const struct cli *cli, const char *id, const void *context, struct error *err)
{
	const struct rm_options *options = context;

	return cli_remove(cli, id, options->force, err);
}

static int rm(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	return for_each(cli, rest, rm_one, options, err);
}

const struct command command_rm = {"rm",  "[OPTIONS] CONTAINER...", "remove containers with all they wrote",
				   rm_entries, sizeof(struct rm_options), 1, -1, false, rm};

static int wait_command(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	const char *id = rest->positional[0];
	Hydra__V1__WaitRequest request = HYDRA__V1__WAIT_REQUEST__INIT;
	auto_message Hydra__V1__WaitResponse *response = NULL;
	struct container_view view = {0};
	int status;
	int r = cli_call_shim(cli, id, "Wait", &request.base, &hydra__v1__wait_response__descriptor, 0, &response, err);

	(void) options;
	if (r < 0) /* its shim may have gone with the answer: the exit record is on disk */
		r = cli_view(cli, id, &view, err);
	if (r < 0)
		return r;
	status = session_exit_status(response != NULL ? response->exit : view.exit, err);
	container_view_deinit(&view);
	if (status < 0)
		return status;
	(void) printf("%d\n", status);
	return 0;
}

const struct command command_wait = {"wait", "CONTAINER", "wait until it ends and print its exit status", NULL, 0, 1, 1, false,
				     wait_command};

struct update_options {
	const char *restart;
	struct string_list log;
	struct health_options health;
	bool no_health;
};

static const struct option_entry update_entries[] = {
	{0, "restart", "POLICY", OPTION_STRING, offsetof(struct update_options, restart),
	 "no, on-failure[:N], always, unless-stopped"},
	{0, "log-opt", "KEY=VALUE", OPTION_LIST, offsetof(struct update_options, log), LOG_OPTION_HELP},
	HEALTH_ENTRIES(struct update_options, health),
	{0, "no-healthcheck", NULL, OPTION_FLAG, offsetof(struct update_options, no_health), "no check any more"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* The check there is, changed by the options; *ret_check is the caller's to free with message_free(). */
static int make_health(const struct cli *cli, const char *id, const struct update_options *options, Hydra__V1__HealthCheck **ret_check,
		       struct error *err)
{
	Hydra__V1__HealthCheck changed = HYDRA__V1__HEALTH_CHECK__INIT;
	auto_free char *json = NULL;
	struct container_view view;
	int r = cli_view(cli, id, &view, err);

	if (r < 0)
		return r;
	if (view.record->health_check != NULL && !options->no_health)
		changed = *view.record->health_check;
	if (!options->no_health)
		r = health_options_parse(&options->health, &changed, err);
	if (r == 0 && options->health.command != NULL && !options->no_health) {
		r = cli_shell_process(cli, id, changed.command, &json, err);
		changed.process_json = (ProtobufCBinaryData){.data = (uint8_t *) json, .len = json != NULL ? strlen(json) : 0};
	}
	if (r == 0)
		*ret_check = (Hydra__V1__HealthCheck *) (void *) message_copy(&changed.base);
	container_view_deinit(&view);
	return r;
}

static int update(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct update_options *options = context;
	Hydra__V1__UpdateRequest request = HYDRA__V1__UPDATE_REQUEST__INIT;
	Hydra__V1__RestartPolicy policy = HYDRA__V1__RESTART_POLICY__INIT;
	Hydra__V1__LogConfig log = HYDRA__V1__LOG_CONFIG__INIT;
	auto_message Hydra__V1__HealthCheck *health = NULL;
	auto_message ProtobufCMessage *response = NULL;
	bool has_health = options->no_health || health_options_are_given(&options->health);
	int r = log_options_parse(&options->log, &log, err);

	if (options->restart == NULL && options->log.count == 0 && !has_health)
		return fail_because(err, EINVAL, "nothing to change: expected --restart, --log-opt, --health-... or --no-healthcheck");
	if (r == 0 && options->restart != NULL)
		r = parse_restart(options->restart, &policy, err);
	if (r == 0 && has_health)
		r = make_health(cli, rest->positional[0], options, &health, err);
	if (r < 0)
		return r;
	request.restart = options->restart != NULL ? &policy : NULL;
	request.log = options->log.count > 0 ? &log : NULL;
	request.health_check = health;
	r = cli_call_shim(cli, rest->positional[0], "Update", &request.base, &hydra__v1__empty__descriptor, 0, &response, err);
	return explain(cli, rest->positional[0], r, err);
}

const struct command command_update = {
	"update", "[OPTIONS] CONTAINER", "change a running container", update_entries, sizeof(struct update_options), 1, 1,
	false,	  update};
