/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl stats, daemon, host-check: what goes on.
 */
#include "base/child.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int stats(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	static const char *const headers[] = {"NAME", "CPU TIME", "MEMORY", "LIMIT", "PIDS", "OOM KILLS", NULL};
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message Hydra__V1__StatsResponse *response = NULL;
	char cpu[32], memory[32], limit[32], pids[32], kills[32];
	struct table *table;
	int r = cli_call_shim(cli, rest->positional[0], "Stats", &request.base, &hydra__v1__stats_response__descriptor, 5000,
			      &response, err);

	(void) options;
	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail_because(err, EBUSY, "container '%s' does not run", rest->positional[0]);
	if (r < 0)
		return r;
	if (cli_wants_json(cli)) {
		auto_free char *json = json_of_message(&response->base, true);

		(void) puts(json);
		return 0;
	}
	(void) text_fit(cpu, sizeof(cpu), "%.3f s", (double) response->cpu_ns / 1e9);
	format_size(response->memory_bytes, memory, sizeof(memory));
	format_size(response->memory_limit_bytes, limit, sizeof(limit));
	(void) text_fit(pids, sizeof(pids), "%llu", (unsigned long long) response->pids);
	(void) text_fit(kills, sizeof(kills), "%llu", (unsigned long long) response->oom_kills);
	table = table_new(headers);
	table_add(table, (const char *[]){rest->positional[0], cpu, memory, response->memory_limit_bytes > 0 ? limit : "none", pids,
					  kills});
	table_print(table);
	table_free(table);
	return 0;
}

const struct command command_stats = {"stats", "CONTAINER", "what a container uses", NULL, 0, 1, 1, false, stats};

static int daemon_command(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message Hydra__V1__DaemonInfo *info = NULL;
	auto_free char *json = NULL;
	char age[64];
	int r = cli_call_daemon(cli, "Info", &request.base, &hydra__v1__daemon_info__descriptor, 5000, &info, err);

	(void) options;
	(void) rest;
	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail_because(err, ECONNREFUSED, "hydrad does not run at %s (containers don't need it)", cli->root);
	if (r < 0)
		return r;
	if (cli_wants_json(cli)) {
		json = json_of_message(&info->base, true);
		(void) puts(json);
		return 0;
	}
	format_age(info->started_ns, age, sizeof(age));
	(void) printf("version      %s\npid          %d\nstarted      %s\nrecovery     %.3f ms\ncontainers   %u (%u answer)\nmigration    %s\n",
		      info->version, info->pid, age, (double) info->recovery_us / 1000, info->containers, info->reachable,
		      info->migration_address[0] != '\0' ? info->migration_address : "not configured");
	return 0;
}

const struct command command_daemon = {"daemon", "", "about the daemon", NULL, 0, 0, 0, false, daemon_command};

static int host_check(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err)
{
	auto_free char *program = child_program("hydra-checkpoint");
	const char *argv[] = {"hydra-checkpoint", "check", "--format", cli_wants_json(cli) ? "json" : "text", NULL};
	struct child_spec spec = {
		.path = program, .argv = argv, .fds = {{STDOUT_FILENO, 1}, {STDERR_FILENO, 2}}, .fd_count = 2};
	pid_t pid;
	int status;
	int r = child_start(&spec, &pid, NULL, err);

	(void) options;
	(void) rest;
	if (r == 0)
		r = child_wait(pid, &status, err);
	return r < 0 ? r : status;
}

const struct command command_host_check = {"host-check", "", "what this host can do", NULL, 0, 0, 0, false, host_check};
