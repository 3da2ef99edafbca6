/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is freed all at once: what a parsed document needs lives exactly as long as the document.
 */
#pragma once

#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
};

#define ARENA_EMPTY ((struct arena){.chunks = NULL})

/* Zeroed memory; aborts the program when there is none (hydra is short-lived). */
void *arena_allocate(struct arena *self, size_t size);
char *arena_format(struct arena *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_deinit(struct arena *self);
