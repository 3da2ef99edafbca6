/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

static uint64_t now(clockid_t clock)
{
	struct timespec time;

	(void) clock_gettime(clock, &time);
	return (uint64_t) time.tv_sec * NS_PER_S + (uint64_t) time.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
	return now(CLOCK_MONOTONIC);
}

uint64_t clock_boottime_ns(void)
{
	return now(CLOCK_BOOTTIME);
}

uint64_t clock_realtime_ns(void)
{
	return now(CLOCK_REALTIME);
}

void clock_format(uint64_t realtime_ns, char ret_text[static CLOCK_TEXT_SIZE])
{
	time_t seconds = (time_t) (realtime_ns / NS_PER_S);
	struct tm parts;

	(void) gmtime_r(&seconds, &parts);
	(void) snprintf(ret_text, CLOCK_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ", (unsigned) parts.tm_year + 1900,
			(unsigned) parts.tm_mon + 1, (unsigned) parts.tm_mday, (unsigned) parts.tm_hour,
			(unsigned) parts.tm_min, (unsigned) parts.tm_sec, (unsigned) (realtime_ns % NS_PER_S));
}

int clock_parse(const char *text, uint64_t *ret_realtime_ns)
{
	struct tm parts = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
	uint64_t fraction = 0;
	uint64_t weight = NS_PER_S / 10;
	time_t seconds;

	if (end == NULL)
		return -EINVAL;
	if (*end == '.') {
		for (end++; *end >= '0' && *end <= '9'; end++, weight /= 10)
			fraction += (uint64_t) (*end - '0') * weight;
	}
	if (end[0] != 'Z' || end[1] != '\0')
		return -EINVAL;
	seconds = timegm(&parts);
	if (seconds < 0)
		return -ERANGE;
	*ret_realtime_ns = (uint64_t) seconds * NS_PER_S + fraction;
	return 0;
}
