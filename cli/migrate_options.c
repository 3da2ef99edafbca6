/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/migrate.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct migrate_options, member)

const struct option_entry migrate_entries[] = {
	MIGRATE_WAY_ENTRIES,
	{0, "dry-run", NULL, OPTION_FLAG, AT(dry_run), "change nothing, only tell what is in the way"},
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

static int check_words(const struct migrate_way *way, struct error *err)
{
	uint64_t ignored;
	int r = check_word("compress", way->compress, ways_to_compress, err);

	if (r == 0)
		r = check_word("mode", way->mode, modes, err);
	if (r == 0)
		r = check_word("lost-pages", way->lost_pages, fates_of_memory, err);
	if (r == 0)
		r = check_word("exec-sessions", way->exec_sessions, fates_of_execs, err);
	if (r == 0 && way->downtime != NULL && number_parse_duration(way->downtime, &ignored) < 0)
		r = fail_because(err, EINVAL, "--downtime '%s': expected a time, like 100ms or 1s", way->downtime);
	return r;
}

int migrate_way_parse(const struct migrate_way *way, Hydra__V1__MigrateRequest *request, char **ret_certificates, struct error *err)
{
	auto_free char *certificates = way->certificates != NULL ? realpath(way->certificates, NULL) : NULL;

	if (way->certificates != NULL && certificates == NULL)
		return fail_errno(err, errno, "certificates '%s'", way->certificates);
	if (check_words(way, err) < 0)
		return err->code;
	if (way->bandwidth != NULL && number_parse_size(way->bandwidth, &request->bandwidth) < 0)
		return fail_because(err, EINVAL, "--bandwidth '%s': expected bytes a second, like 500k, 10m or 1g", way->bandwidth);
	request->compress = text_or_empty(way->compress);
	request->mode = text_or_empty(way->mode);
	request->lost_pages = text_or_empty(way->lost_pages);
	request->deadlines = (char **) (uintptr_t) way->deadlines.items;
	request->n_deadlines = way->deadlines.count;
	request->downtime = text_or_empty(way->downtime);
	request->end_exec_sessions = way->exec_sessions != NULL && strcmp(way->exec_sessions, "end") == 0;
	request->certificates = text_or_empty(certificates);
	*ret_certificates = take_ptr(&certificates);
	return 0;
}
