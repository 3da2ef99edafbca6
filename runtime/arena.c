/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bump allocator in chunks. It never returns NULL and never gives memory back before arena_deinit().
 */
#include "runtime/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_SIZE 16384
#define ALIGNMENT  16

struct arena_chunk {
	struct arena_chunk *next;
	size_t used;
	size_t capacity;
	_Alignas(ALIGNMENT) unsigned char data[];
};

static struct arena_chunk *chunk_new(size_t capacity)
{
	struct arena_chunk *chunk = calloc(1, sizeof(*chunk) + capacity);

	if (chunk == NULL)
		abort();
	chunk->capacity = capacity;
	return chunk;
}

void *arena_allocate(struct arena *self, size_t size)
{
	struct arena_chunk *chunk = self->chunks;
	void *memory;

	if (size > SIZE_MAX / 2)
		abort();
	size = (size + ALIGNMENT - 1) & ~(size_t) (ALIGNMENT - 1);
	if (chunk == NULL || chunk->capacity - chunk->used < size) {
		chunk = chunk_new(size > CHUNK_SIZE ? size : CHUNK_SIZE);
		chunk->next = self->chunks;
		self->chunks = chunk;
	}
	memory = chunk->data + chunk->used;
	chunk->used += size;
	return memory;
}

char *arena_format(struct arena *self, const char *format, ...)
{
	va_list args, again;
	char *text;
	int length;

	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		abort();
	text = arena_allocate(self, (size_t) length + 1);
	(void) vsnprintf(text, (size_t) length + 1, format, again);
	va_end(again);
	return text;
}

void arena_deinit(struct arena *self)
{
	while (self->chunks != NULL) {
		struct arena_chunk *chunk = self->chunks;

		self->chunks = chunk->next;
		free(chunk);
	}
}
