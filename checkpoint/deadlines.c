/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/deadlines.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"

static const struct {
	const char *name;
	uint64_t otherwise_ns;
} deadlines[DEADLINES] = {
	[DEADLINE_PREFLIGHT] = {"preflight", 60 * NS_PER_S},
	[DEADLINE_SYNC] = {"sync", 0},
	[DEADLINE_FREEZE] = {"freeze", 60 * NS_PER_S},
	[DEADLINE_COMMIT] = {"commit", 0},
};

const char *deadline_name(enum deadline deadline)
{
	return deadlines[deadline].name;
}

static int parse_word(const char *word, uint64_t ret_ns[static DEADLINES], struct error *err)
{
	const char *time = strchr(word, '=');

	for (size_t i = 0; time != NULL && i < DEADLINES; i++) {
		size_t length = strlen(deadlines[i].name);

		if ((size_t) (time - word) == length && strncmp(word, deadlines[i].name, length) == 0 &&
		    number_parse_duration(time + 1, &ret_ns[i]) == 0)
			return 0;
	}
	return fail_because(err, EINVAL, "deadline '%s': expected preflight, sync, freeze or commit, and a time, like freeze=10s (0: none)",
			    word);
}

int deadlines_parse(const struct string_list *words, uint64_t ret_ns[static DEADLINES], struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < DEADLINES; i++)
		ret_ns[i] = deadlines[i].otherwise_ns;
	for (size_t i = 0; i < words->count && r == 0; i++)
		r = parse_word(words->items[i], ret_ns, err);
	return r;
}
