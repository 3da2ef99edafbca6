/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/unit_words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void unit_words_add(struct unit_words *self, const char *word)
{
	if (self->count + 1 >= self->capacity) {
		size_t capacity = self->capacity == 0 ? 64 : self->capacity * 2;
		const char **items = arena_allocate(self->arena, capacity * sizeof(*items));

		if (self->count > 0)
			memcpy(items, self->items, self->count * sizeof(*items));
		self->items = items;
		self->capacity = capacity;
	}
	self->items[self->count++] = word;
	self->items[self->count] = NULL;
}

void unit_words_addf(struct unit_words *self, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	unit_words_add(self, arena_format(self->arena, "%s", text));
}

static void begin(struct unit_words *self, const char *name, const char *signature)
{
	unit_words_add(self, name);
	unit_words_add(self, signature);
}

void unit_words_string(struct unit_words *self, const char *name, const char *value)
{
	begin(self, name, "s");
	unit_words_add(self, value);
}

void unit_words_bool(struct unit_words *self, const char *name, bool value)
{
	begin(self, name, "b");
	unit_words_add(self, value ? "true" : "false");
}

void unit_words_number(struct unit_words *self, const char *name, uint64_t value)
{
	begin(self, name, "t");
	unit_words_addf(self, "%" PRIu64, value);
}
