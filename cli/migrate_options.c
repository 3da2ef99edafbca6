/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/migrate.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct migrate_options, member)

const struct option_entry migrate_entries[] = {
	{0, "mode", "MODE", OPTION_STRING, AT(mode), "auto, post-copy, pre-copy, hybrid or cold (default: auto)"},
	{0, "dry-run", NULL, OPTION_FLAG, AT(dry_run), "change nothing, only tell what is in the way"},
	{0, "exec-sessions", "WHAT", OPTION_STRING, AT(exec_sessions), "of the container: refuse to move it, or end them (default: refuse)"},
	{0, "downtime", "TIME", OPTION_STRING, AT(downtime), "pre-copy: how long sending the rest may take (default: 100ms)"},
	{0, "certificates", "DIR", OPTION_STRING, AT(certificates), "folder with ca.pem, cert.pem, key.pem (default: the daemon's)"},
	{0, "bandwidth", "RATE", OPTION_STRING, AT(bandwidth), "bytes a second for what nobody waits for, also 10m (default: all there is)"},
	{0, "compress", "HOW", OPTION_STRING, AT(compress), "pages that nobody waits for: auto, none, lz4 or zstd (default: auto)"},
	{0, "lost-pages", "POLICY", OPTION_STRING, AT(lost_pages),
	 "should the source's memory be lost after the commit: stop (the copy is killed, default) or poison (who touches a missing page gets SIGBUS)"},
	{0, "deadline", "PART=TIME", OPTION_LIST, AT(deadlines),
	 "how long preflight, sync, freeze (from the standstill to the commit) or commit (all until then) may take; else it stays here"},
	{0, "resume", NULL, OPTION_FLAG, AT(is_resumed), "of a container in doubt: ask its target again, go on"},
	{0, "resolve", "SIDE", OPTION_STRING, AT(resolve), "of a container in doubt: decide that it lives here (source) or there (target)"},
	{'f', "force", NULL, OPTION_FLAG, AT(force), "with --resolve: do it"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static const char *const ways_to_compress[] = {"auto", "none", "lz4", "zstd", NULL};
static const char *const fates_of_memory[] = {"stop", "poison", NULL};
static const char *const modes[] = {"auto", "post-copy", "pre-copy", "hybrid", "cold", NULL};
static const char *const fates_of_execs[] = {"refuse", "end", NULL};

/* Of the words of an option, as they are told to people. */
static int check_word(const char *name, const char *value, const char *const *words, struct error *err)
{
	auto_text list = TEXT_EMPTY;
	auto_free char *told = NULL;

	if (value == NULL || text_is_one_of(value, words))
		return 0;
	for (size_t i = 0; words[i] != NULL; i++)
		text_addf(&list, "%s%s", i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ", words[i]);
	told = text_take(&list);
	return fail_because(err, EINVAL, "--%s '%s': expected %s", name, value, told != NULL ? told : "something else");
}

static char *text_or_empty(const char *text)
{
	return (char *) (uintptr_t) (text != NULL ? text : "");
}

int migrate_options_parse(const struct migrate_options *options, Hydra__V1__MigrateRequest *request, struct error *err)
{
	uint64_t ignored;
	int r = check_word("compress", options->compress, ways_to_compress, err);

	if (r == 0)
		r = check_word("mode", options->mode, modes, err);
	if (r == 0)
		r = check_word("lost-pages", options->lost_pages, fates_of_memory, err);
	if (r == 0)
		r = check_word("exec-sessions", options->exec_sessions, fates_of_execs, err);
	if (r < 0)
		return r;
	if (options->bandwidth != NULL && number_parse_size(options->bandwidth, &request->bandwidth) < 0)
		return fail_because(err, EINVAL, "--bandwidth '%s': expected bytes a second, like 500k, 10m or 1g", options->bandwidth);
	if (options->downtime != NULL && number_parse_duration(options->downtime, &ignored) < 0)
		return fail_because(err, EINVAL, "--downtime '%s': expected a time, like 100ms or 1s", options->downtime);
	request->compress = text_or_empty(options->compress);
	request->mode = text_or_empty(options->mode);
	request->lost_pages = text_or_empty(options->lost_pages);
	request->deadlines = (char **) (uintptr_t) options->deadlines.items;
	request->n_deadlines = options->deadlines.count;
	request->downtime = text_or_empty(options->downtime);
	request->end_exec_sessions = options->exec_sessions != NULL && strcmp(options->exec_sessions, "end") == 0;
	return 0;
}
