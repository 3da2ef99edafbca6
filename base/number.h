/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers from text, strictly: the whole text must be the number, out of range is an error.
 * All return 0, -EINVAL (not a number) or -ERANGE, and leave the result untouched on failure.
 */
#pragma once

#include <stdint.h>

int number_parse_u64(const char *text, uint64_t *ret_value);
int number_parse_i64(const char *text, int64_t *ret_value);
int number_parse_int(const char *text, int minimum, int maximum, int *ret_value);
int number_parse_octal(const char *text, uint32_t *ret_value);
/* "512", "64k", "1.5g", "2GiB": powers of 1024. */
int number_parse_size(const char *text, uint64_t *ret_bytes);
/* "500ms", "10s", "1m30s", "2h"; a bare number is seconds. */
int number_parse_duration(const char *text, uint64_t *ret_ns);
