/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl events: what happened, and what happens.
 */
#include "base/clock.h"
#include "base/number.h"
#include "base/owned.h"
#include "cli/cli.h"
#include "cli/journals.h"
#include "state/run_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct events_options {
	const char *since;
	bool follow, all_namespaces;
};

static const struct option_entry events_entries[] = {
	{0, "since", "N|TIME", OPTION_STRING, offsetof(struct events_options, since),
	 "after number N (of one container), or since a time (2026-11-21T10:00:00Z) or for a duration (10m)"},
	{'f', "follow", NULL, OPTION_FLAG, offsetof(struct events_options, follow), "wait for further ones; of all containers it always does"},
	ALL_NAMESPACES_ENTRY(struct events_options, all_namespaces),
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

struct printing {
	const struct cli *cli;
	bool with_namespace;
};

static void print_text(const char *namespace, const event *entry)
{
	char time_text[CLOCK_TEXT_SIZE];

	clock_format(entry->time_ns, time_text);
	(void) printf("%llu %s %s%s%s %s", (unsigned long long) entry->sequence, time_text, namespace, namespace[0] != '\0' ? "/" : "",
		      entry->container_id, entry->type);
	if (entry->exec_id[0] != '\0')
		(void) printf(" exec=%s", entry->exec_id);
	if (entry->exit != NULL && entry->exit->is_known)
		(void) printf(" status=%u%s", entry->exit->exit_code, entry->exit->oom_killed ? " oom" : "");
	else if (entry->exit != NULL)
		(void) printf(" status=unknown");
	(void) printf("%s%s\n", entry->detail[0] != '\0' ? " " : "", entry->detail);
}

static void print_event(const char *namespace, const event *entry, void *context)
{
	const struct printing *self = context;

	if (cli_wants_json(self->cli)) {
		auto_free char *json = json_of_message(&entry->base, false);

		if (self->with_namespace)
			(void) printf("{\"namespace\":\"%s\",%s\n", namespace, json + 1);
		else
			(void) puts(json);
	} else {
		print_text(self->with_namespace ? namespace : "", entry);
	}
	(void) fflush(stdout);
}

static void say_missed(const char *namespace, const char *id, uint64_t count, void *context)
{
	(void) namespace;
	(void) context;
	(void) fprintf(stderr, "hydractl: %llu events of '%s' were dropped by its journal before they could be read\n",
		       (unsigned long long) count, id);
}

/* A number is one of a container's journal; a time or a duration means the same for all. */
static int parse_since(const char *text, bool is_of_one, uint64_t *ret_since, uint64_t *ret_since_ns, struct error *err)
{
	uint64_t duration_ns;

	if (number_parse_u64(text, ret_since) == 0 && is_of_one)
		return 0;
	*ret_since = 0;
	if (clock_parse(text, ret_since_ns) == 0)
		return 0;
	if (number_parse_duration(text, &duration_ns) < 0 || strspn(text, "0123456789") == strlen(text))
		return fail_because(err, EINVAL, "option --since: '%s': expected %sa time such as 2026-11-21T10:00:00Z or a duration such as 10m",
				    text, is_of_one ? "the number of an event, " : "");
	*ret_since_ns = clock_realtime_ns() - duration_ns;
	return 0;
}

static int check_is_there(const struct cli *cli, const char *id, struct error *err)
{
	struct run_dir dir;
	int r = id != NULL ? run_dir_open(&dir, cli->root, cli->namespace, id, err) : 0;

	if (id != NULL && r == 0)
		run_dir_close(&dir);
	return r;
}

static int events(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct events_options *options = context;
	struct printing printing = {.cli = cli, .with_namespace = options->all_namespaces};
	struct journals_options wanted = {.root = cli->root,
					  .namespace = options->all_namespaces ? NULL : cli->namespace,
					  .id = rest->count > 0 ? rest->positional[0] : NULL,
					  .give = print_event,
					  .miss = say_missed,
					  .context = &printing};
	struct journals *journals;
	uint64_t since = 0, since_ns = 0;
	int r = options->all_namespaces && wanted.id != NULL
			? fail_because(err, EINVAL, "option --all-namespaces: it is for all containers, not for '%s'", wanted.id)
			: check_is_there(cli, wanted.id, err);

	if (r == 0 && options->since != NULL)
		r = parse_since(options->since, wanted.id != NULL, &since, &since_ns, err);
	if (r == 0)
		r = journals_open(&journals, &wanted, err);
	if (r < 0)
		return r;
	/* of all, without being asked for more: what happens from now on */
	if (wanted.id != NULL || options->since != NULL)
		r = journals_replay(journals, since, since_ns, err);
	if (r == 0 && (options->follow || wanted.id == NULL)) {
		while (journals_wait(journals))
			;
	}
	journals_close(journals);
	return r;
}

const struct command command_events = {
	"events", "[OPTIONS] [CONTAINER]", "what happened to a container, or happens to all of them", events_entries,
	sizeof(struct events_options), 0, 1, false, events};
