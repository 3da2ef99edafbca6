/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of small numbers (processors, memory nodes) in the form in which the kernel takes them.
 */
#pragma once

#include <stdbool.h>

#define NUMBER_SET_SIZE 1024 /* one more than the largest number; multiple of 64 */

struct number_set {
	unsigned long words[NUMBER_SET_SIZE / (8 * sizeof(unsigned long))];
};

/* From "0-3,7". -EINVAL when it is something else, -ERANGE for a number that is too large. */
int number_set_parse(const char *text, struct number_set *ret_set);
bool number_set_has(const struct number_set *self, unsigned int number);
