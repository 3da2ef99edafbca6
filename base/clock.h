/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time in nanoseconds, and as RFC 3339 text in UTC.
 */
#pragma once

#include <stdint.h>

#define NS_PER_US 1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

#define CLOCK_TEXT_SIZE 40

uint64_t clock_monotonic_ns(void);
uint64_t clock_boottime_ns(void);
uint64_t clock_realtime_ns(void);

/* "2026-11-21T10:00:00.123456789Z" */
void clock_format(uint64_t realtime_ns, char ret_text[static CLOCK_TEXT_SIZE]);
int clock_parse(const char *text, uint64_t *ret_realtime_ns);
