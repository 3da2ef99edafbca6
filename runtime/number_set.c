/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/number_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BITS (8 * sizeof(unsigned long))

static int parse_number(const char **at, unsigned long *ret_number)
{
	char *end;

	/* strtoul() would take blanks and signs */
	if (**at < '0' || **at > '9')
		return -EINVAL;
	*ret_number = strtoul(*at, &end, 10);
	*at = end;
	return *ret_number < NUMBER_SET_SIZE ? 0 : -ERANGE;
}

int number_set_parse(const char *text, struct number_set *ret_set)
{
	struct number_set set = {0};
	const char *at = text;

	for (;;) {
		unsigned long first, last;
		int r = parse_number(&at, &first);

		last = first;
		if (r == 0 && *at == '-') {
			at++;
			r = parse_number(&at, &last);
		}
		if (r < 0)
			return r;
		if (last < first || (*at != ',' && *at != '\0'))
			return -EINVAL;
		for (unsigned long number = first; number <= last; number++)
			set.words[number / WORD_BITS] |= 1UL << number % WORD_BITS;
		if (*at == '\0')
			break;
		at++;
	}
	*ret_set = set;
	return 0;
}

bool number_set_has(const struct number_set *self, unsigned int number)
{
	return number < NUMBER_SET_SIZE && (self->words[number / WORD_BITS] >> number % WORD_BITS & 1) != 0;
}
