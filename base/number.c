/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int parse_digits(const char *text, int base, const char **ret_end, uint64_t *ret_value)
{
	char *end;
	unsigned long long value;

	if (!isdigit((unsigned char) text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, base);
	if (errno == ERANGE)
		return -ERANGE;
	*ret_end = end;
	*ret_value = value;
	return 0;
}

static int parse_whole(const char *text, int base, uint64_t *ret_value)
{
	const char *end;
	uint64_t value;
	int r = parse_digits(text, base, &end, &value);

	if (r < 0)
		return r;
	if (*end != '\0')
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int number_parse_u64(const char *text, uint64_t *ret_value)
{
	return parse_whole(text, 10, ret_value);
}

int number_parse_i64(const char *text, int64_t *ret_value)
{
	bool negative = text[0] == '-';
	uint64_t value;
	int r = number_parse_u64(text + negative, &value);

	if (r < 0)
		return r;
	if (value > (uint64_t) INT64_MAX + negative)
		return -ERANGE;
	*ret_value = negative ? (int64_t) -value : (int64_t) value;
	return 0;
}

int number_parse_int(const char *text, int minimum, int maximum, int *ret_value)
{
	int64_t value;
	int r = number_parse_i64(text, &value);

	if (r < 0)
		return r;
	if (value < minimum || value > maximum)
		return -ERANGE;
	*ret_value = (int) value;
	return 0;
}

int number_parse_octal(const char *text, uint32_t *ret_value)
{
	uint64_t value;
	int r = parse_whole(text, 8, &value);

	if (r < 0)
		return r;
	if (value > UINT32_MAX)
		return -ERANGE;
	*ret_value = (uint32_t) value;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* value with up to three decimals, then one unit of the table; *ret_end is behind it */
static int parse_amount(const char *text, const struct unit *units, const char **ret_end, uint64_t *ret_value)
{
	uint64_t thousandths = 0;
	uint64_t weight = 100;
	uint64_t value;
	const char *end;
	int r = parse_digits(text, 10, &end, &value);

	if (r < 0)
		return r;
	if (*end == '.' && isdigit((unsigned char) end[1])) {
		for (end++; isdigit((unsigned char) *end); end++, weight /= 10)
			thousandths += (uint64_t) (*end - '0') * weight;
	}
	for (const struct unit *unit = units; unit->name != NULL; unit++) {
		size_t size = strlen(unit->name);

		if (strncasecmp(end, unit->name, size) != 0 || isalpha((unsigned char) end[size]))
			continue;
		if (value > UINT64_MAX / 2 / unit->factor)
			return -ERANGE;
		*ret_value = value * unit->factor + unit->factor / 1000 * thousandths +
			     unit->factor % 1000 * thousandths / 1000;
		*ret_end = end + size;
		return 0;
	}
	return -EINVAL;
}

int number_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{"kib", 1ULL << 10}, {"mib", 1ULL << 20}, {"gib", 1ULL << 30}, {"tib", 1ULL << 40},
		{"kb", 1ULL << 10},  {"mb", 1ULL << 20},  {"gb", 1ULL << 30},  {"tb", 1ULL << 40},
		{"k", 1ULL << 10},   {"m", 1ULL << 20},   {"g", 1ULL << 30},   {"t", 1ULL << 40},
		{"b", 1},            {"", 1},             {NULL, 0},
	};
	const char *end;
	uint64_t value;
	int r = parse_amount(text, units, &end, &value);

	if (r < 0)
		return r;
	if (*end != '\0')
		return -EINVAL;
	*ret_bytes = value;
	return 0;
}

int number_parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{"ns", 1},           {"us", 1000},          {"ms", NS_PER_MS}, {"s", NS_PER_S},
		{"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {NULL, 0},
	};
	uint64_t total = 0;
	uint64_t bare;

	if (number_parse_u64(text, &bare) == 0) {
		if (bare > UINT64_MAX / 2 / NS_PER_S)
			return -ERANGE;
		*ret_ns = bare * NS_PER_S;
		return 0;
	}
	do {
		uint64_t part;
		int r = -EINVAL;

		/* a unit may be followed by the next number: "1m30s" */
		for (const struct unit *unit = units; unit->name != NULL && r == -EINVAL; unit++) {
			const struct unit one[] = {*unit, {NULL, 0}};

			r = parse_amount(text, one, &text, &part);
		}
		if (r < 0)
			return r;
		if (part > UINT64_MAX / 2 - total)
			return -ERANGE;
		total += part;
	} while (*text != '\0');
	*ret_ns = total;
	return 0;
}
