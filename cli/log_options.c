/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --log-opt KEY=VALUE of run, create and update.
 */
#include "base/number.h"
#include "base/text.h"
#include "cli/cli.h"
#include "state/log_config.h"

#include <errno.h>
#include <string.h>

static bool take_format(const char *value, Hydra__V1__LogConfig *log)
{
	return log_format_parse(value, &log->format);
}

static bool take_policy(const char *value, Hydra__V1__LogConfig *log)
{
	return log_policy_parse(value, &log->policy);
}

static bool take_max_size(const char *value, Hydra__V1__LogConfig *log)
{
	return number_parse_size(value, &log->max_size_bytes) == 0;
}

static bool take_spill_size(const char *value, Hydra__V1__LogConfig *log)
{
	uint64_t size;

	if (number_parse_size(value, &size) < 0 || size < LOG_SPILL_SIZE_LEAST || size > LOG_SPILL_SIZE_MOST)
		return false;
	log->spill_size_bytes = size;
	return true;
}

static bool take_max_files(const char *value, Hydra__V1__LogConfig *log)
{
	int files;

	if (number_parse_int(value, 1, 1000, &files) < 0)
		return false;
	log->max_files = (uint32_t) files;
	return true;
}

static bool take_path(const char *value, Hydra__V1__LogConfig *log)
{
	log->path = (char *) (uintptr_t) value;
	return value[0] == '/';
}

static const struct {
	const char *name; /* with "=" */
	bool (*take)(const char *value, Hydra__V1__LogConfig *log);
	const char *expected;
} keys[] = {
	{"format=", take_format, "cri, json-file, raw or journald"},
	{"policy=", take_policy, "spill, block or drop-oldest"},
	{"max-size=", take_max_size, "a size such as 64k or 16m"},
	{"max-files=", take_max_files, "a number from 1 to 1000"},
	{"max-file=", take_max_files, "a number from 1 to 1000"}, /* Docker's spelling */
	{"path=", take_path, "an absolute path"},
	{"spill-size=", take_spill_size, "a size from 64k to 1g"},
};

static int parse_one(const char *item, Hydra__V1__LogConfig *log, struct error *err)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!text_has_prefix(item, keys[i].name))
			continue;
		if (keys[i].take(item + strlen(keys[i].name), log))
			return 0;
		return fail_because(err, EINVAL, "option --log-opt: '%s': expected %s", item, keys[i].expected);
	}
	return fail_because(err, EINVAL, "option --log-opt: '%s': expected format=, policy=, max-size=, max-files=, path= or spill-size=",
			    item);
}

int log_options_parse(const struct string_list *list, Hydra__V1__LogConfig *log, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < list->count && r == 0; i++)
		r = parse_one(list->items[i], log, err);
	return r;
}
