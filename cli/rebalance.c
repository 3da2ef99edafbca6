/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl rebalance: which moves would make hosts more equal. It says so, and does nothing.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/rebalance_plan.h"
#include "proto/message.h"
#include "state/migration_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#define EXIT_PROPOSALS_ONLY 2

struct rebalance_options {
	bool dry_run;
};

static const struct option_entry rebalance_entries[] = {
	{0, "dry-run", NULL, OPTION_FLAG, offsetof(struct rebalance_options, dry_run), "needed: nothing but proposals is made"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static const char *const reasons[] = {[REBALANCE_MEMORY] = "memory", [REBALANCE_CPU] = "cpu"};

/* "null" where the kernel does not tell. */
static void describe_pressure(double percent, char *buffer, size_t size)
{
	(void) text_fit(buffer, size, percent >= 0 ? "%.2f" : "null", percent);
}

static void print_json(const struct host_report *hosts, size_t host_count, const struct rebalance_move *moves, size_t count)
{
	(void) fputs("{\"hosts\":[", stdout);
	for (size_t i = 0; i < host_count; i++) {
		auto_free char *problem = progress_safe(hosts[i].problem);
		char cpu[16], memory[16];

		describe_pressure(hosts[i].cpu_pressure, cpu, sizeof(cpu));
		describe_pressure(hosts[i].memory_pressure, memory, sizeof(memory));
		(void) printf("%s{\"name\":\"%s\",\"problem\":\"%s\",\"memoryBytes\":%llu,\"memoryAvailableBytes\":%llu,\"processors\":%u,\"loadPercent\":%u,"
			      "\"cpuPressurePercent\":%s,\"memoryPressurePercent\":%s,\"containers\":%zu}",
			      i > 0 ? "," : "", hosts[i].name, problem, (unsigned long long) hosts[i].memory_bytes,
			      (unsigned long long) hosts[i].available_bytes, hosts[i].processors, hosts[i].load_percent, cpu, memory,
			      hosts[i].container_count);
	}
	(void) fputs("],\"moves\":[", stdout);
	for (size_t i = 0; i < count; i++) {
		auto_free char *words = progress_safe(moves[i].words);

		(void) printf("%s{\"namespace\":\"%s\",\"container\":\"%s\",\"from\":\"%s\",\"to\":\"%s\",\"reason\":\"%s\",\"memoryBytes\":%llu,"
			      "\"processors\":%.3f,\"words\":\"%s\"}",
			      i > 0 ? "," : "", moves[i].container->namespace, moves[i].container->id, moves[i].from->name, moves[i].to->name,
			      reasons[moves[i].reason], (unsigned long long) moves[i].container->memory_bytes, moves[i].container->processors, words);
	}
	(void) puts("]}");
}

static void print_text(const struct host_report *hosts, size_t host_count, const struct rebalance_move *moves, size_t count)
{
	for (size_t i = 0; i < host_count; i++) {
		if (hosts[i].problem[0] != '\0')
			(void) printf("%s is left out: %s\n", hosts[i].name, hosts[i].problem);
	}
	for (size_t i = 0; i < count; i++) {
		char size[32];

		format_size(moves[i].container->memory_bytes, size, sizeof(size));
		(void) printf("move %s/%s (%s, %.1f processors) from %s to %s:\n  %s\n", moves[i].container->namespace, moves[i].container->id, size,
			      moves[i].container->processors, moves[i].from->name, moves[i].to->name, moves[i].words);
	}
	if (count == 0)
		(void) puts("no move would be of use");
}

/* This one first, by its own name. */
static int ask_all(const struct cli *cli, const known_hosts *known, struct host_report *hosts, size_t *ret_count, struct error *err)
{
	struct utsname own;
	int r = host_report_ask(&hosts[0], cli, NULL, err);

	*ret_count = 1;
	if (r == 0 && uname(&own) == 0) {
		free(hosts[0].name);
		hosts[0].name = progress_safe(own.nodename);
	}
	for (size_t i = 0; r == 0 && i < known->n_hosts; i++)
		r = host_report_ask(&hosts[(*ret_count)++], cli, known->hosts[i], err);
	return r;
}

static int rebalance(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct rebalance_options *options = context;
	auto_message known_hosts *known = NULL;
	struct rebalance_move moves[REBALANCE_MOVES_MAX];
	struct host_report *hosts;
	size_t host_count = 0, count;
	int r = hosts_load(&known, err);

	(void) rest;
	if (!options->dry_run) {
		(void) fputs("hydractl: rebalance only makes proposals: give --dry-run, and move with hydractl migrate what you like\n", stderr);
		return EXIT_PROPOSALS_ONLY;
	}
	hosts = r == 0 ? calloc(known->n_hosts + 1, sizeof(*hosts)) : NULL;
	if (hosts == NULL)
		return r < 0 ? r : fail_errno(err, ENOMEM, "rebalance");
	r = ask_all(cli, known, hosts, &host_count, err);
	count = r == 0 ? rebalance_plan(hosts, host_count, moves) : 0;
	if (r == 0 && cli_wants_json(cli))
		print_json(hosts, host_count, moves, count);
	else if (r == 0)
		print_text(hosts, host_count, moves, count);
	for (size_t i = 0; i < host_count; i++)
		host_report_deinit(&hosts[i]);
	free(hosts);
	return r;
}

const struct command command_rebalance = {
	"rebalance", "--dry-run", "which moves would make hosts more equal, and why", rebalance_entries, sizeof(struct rebalance_options), 0, 0, false,
	rebalance};
