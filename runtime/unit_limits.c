/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/unit_limits.h"

#include "base/number.h"
#include "base/text.h"
#include "runtime/number_set.h"

#include <errno.h>
#include <string.h>

#define FIELD             "unified"
#define DEFAULT_PERIOD_US 100000
#define USEC_PER_SEC      1000000
#define QUOTA_STEP_US     10000 /* systemd rounds down to whole percents */

struct file {
	const char *name;
	const char *property;
	int (*add)(const struct file *file, const char *value, struct unit_words *words, struct error *err);
};

void unit_limit_add(struct unit_words *words, const char *name, const struct json_int *limit)
{
	if (limit->is_set && limit->value != 0)
		unit_words_number(words, name, limit->value < 0 ? UINT64_MAX : (uint64_t) limit->value);
}

void unit_limit_add_cpu(struct unit_words *words, int64_t quota_us, uint64_t period_us)
{
	uint64_t period = period_us != 0 ? period_us : DEFAULT_PERIOD_US;
	uint64_t per_second = UINT64_MAX;

	if (quota_us > 0) {
		/* no quota of these makes the product overflow: the kernel knows none above 2^44 */
		per_second = (uint64_t) quota_us < UINT64_MAX / USEC_PER_SEC ? (uint64_t) quota_us * USEC_PER_SEC / period : UINT64_MAX;
		if (per_second < UINT64_MAX - QUOTA_STEP_US)
			per_second = (per_second + QUOTA_STEP_US - 1) / QUOTA_STEP_US * QUOTA_STEP_US;
	}
	if (period_us != 0)
		unit_words_number(words, "CPUQuotaPeriodUSec", period_us);
	if (quota_us != 0)
		unit_words_number(words, "CPUQuotaPerSecUSec", per_second);
}

int unit_limit_add_set(struct unit_words *words, const char *name, const char *list, const char *field, struct error *err)
{
	struct number_set set;
	size_t size = 0;

	if (list == NULL || list[0] == '\0')
		return 0;
	if (number_set_parse(list, &set) < 0)
		return fail_because(err, EINVAL, "linux.resources.%s: '%s' is not a list such as 0-3,7", field, list);
	for (unsigned int i = 0; i < NUMBER_SET_SIZE; i++)
		if (number_set_has(&set, i))
			size = i / 8 + 1;
	unit_words_add(words, name);
	unit_words_add(words, "ay");
	unit_words_addf(words, "%zu", size);
	for (size_t i = 0; i < size; i++)
		unit_words_addf(words, "%lu", set.words[i / sizeof(long)] >> 8 * (i % sizeof(long)) & 255);
	return 0;
}

static int refuse(const struct file *file, const char *value, struct error *err)
{
	return fail_because(err, EINVAL, "linux.resources." FIELD ": '%s' is not a value of %s", value, file->name);
}

static bool parse_limit(const char *value, uint64_t *ret_limit)
{
	*ret_limit = UINT64_MAX;
	return strcmp(value, "max") == 0 || number_parse_size(value, ret_limit) == 0;
}

static int add_limit(const struct file *file, const char *value, struct unit_words *words, struct error *err)
{
	uint64_t limit;

	if (!parse_limit(value, &limit))
		return refuse(file, value, err);
	unit_words_number(words, file->property, limit);
	return 0;
}

/* "100", "default 100"; what is for one device has no property of a name that could be told. */
static int add_weight(const struct file *file, const char *value, struct unit_words *words, struct error *err)
{
	const char *number = text_has_prefix(value, "default ") ? value + strlen("default ") : value;
	uint64_t weight;

	if (strchr(number, ':') != NULL)
		return 0;
	if (number_parse_u64(number, &weight) < 0)
		return refuse(file, value, err);
	unit_words_number(words, file->property, weight);
	return 0;
}

static int add_idle(const struct file *file, const char *value, struct unit_words *words, struct error *err)
{
	if (strcmp(value, "1") == 0)
		unit_words_number(words, file->property, 0);
	else if (strcmp(value, "0") != 0)
		return refuse(file, value, err);
	return 0;
}

/* "max", "50000", "max 100000", "50000 100000" */
static int add_bandwidth(const struct file *file, const char *value, struct unit_words *words, struct error *err)
{
	char quota_text[24];
	size_t size = strcspn(value, " ");
	uint64_t quota, period = 0;

	if (!text_fit(quota_text, sizeof(quota_text), "%.*s", (int) size, value) || !parse_limit(quota_text, &quota) || quota == 0 ||
	    (quota != UINT64_MAX && quota > INT64_MAX) ||
	    (value[size] == ' ' && (number_parse_u64(value + size + 1, &period) < 0 || period == 0)))
		return refuse(file, value, err);
	unit_limit_add_cpu(words, quota == UINT64_MAX ? -1 : (int64_t) quota, period);
	return 0;
}

static int add_set(const struct file *file, const char *value, struct unit_words *words, struct error *err)
{
	return unit_limit_add_set(words, file->property, value, FIELD, err);
}

static const struct file files[] = {
	{"cpu.idle", "CPUWeight", add_idle},
	{"cpu.max", "CPUQuotaPerSecUSec", add_bandwidth},
	{"cpu.weight", "CPUWeight", add_weight},
	{"cpuset.cpus", "AllowedCPUs", add_set},
	{"cpuset.mems", "AllowedMemoryNodes", add_set},
	{"io.weight", "IOWeight", add_weight},
	{"memory.high", "MemoryHigh", add_limit},
	{"memory.low", "MemoryLow", add_limit},
	{"memory.max", "MemoryMax", add_limit},
	{"memory.min", "MemoryMin", add_limit},
	{"memory.swap.max", "MemorySwapMax", add_limit},
	{"memory.zswap.max", "MemoryZSwapMax", add_limit},
	{"pids.max", "TasksMax", add_limit},
};

int unit_limits_of_unified(const struct json_map *unified, struct unit_words *words, struct error *err)
{
	for (size_t i = 0; i < unified->count; i++)
		for (size_t j = 0; j < sizeof(files) / sizeof(files[0]); j++)
			if (strcmp(unified->items[i].key, files[j].name) == 0 &&
			    files[j].add(&files[j], unified->items[i].value, words, err) < 0)
				return err->code;
	return 0;
}
