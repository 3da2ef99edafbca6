/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of a systemd unit as hydra-systemd takes them on its command line: a name, a D-Bus signature, and the values it
 * describes, one word each; before the elements of an array stands how many there are. Pure.
 *
 *   MemoryMax t 1048576     DeviceAllow a(ss) 1 /dev/null rw
 */
#pragma once

#include "runtime/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unit_words {
	struct arena *arena; /* what the words live in */
	const char **items;  /* ends with NULL */
	size_t count;
	size_t capacity;
};

void unit_words_add(struct unit_words *self, const char *word); /* kept as it is, not copied */
void unit_words_addf(struct unit_words *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whole properties. */
void unit_words_string(struct unit_words *self, const char *name, const char *value);
void unit_words_bool(struct unit_words *self, const char *name, bool value);
void unit_words_number(struct unit_words *self, const char *name, uint64_t value);
