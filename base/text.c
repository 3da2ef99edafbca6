/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_deinit(struct text *self)
{
	free(self->data);
	*self = TEXT_EMPTY;
}

static bool reserve(struct text *self, size_t more)
{
	size_t needed = self->size + more + 1;
	char *larger;

	if (self->has_failed)
		return false;
	if (needed <= self->capacity)
		return true;
	needed = needed < 64 ? 64 : needed + needed / 2;
	larger = realloc(self->data, needed);
	if (larger == NULL) {
		self->has_failed = true;
		return false;
	}
	self->data = larger;
	self->capacity = needed;
	return true;
}

void text_add_bytes(struct text *self, const void *data, size_t size)
{
	if (!reserve(self, size))
		return;
	if (size > 0)
		memcpy(self->data + self->size, data, size);
	self->size += size;
	self->data[self->size] = '\0';
}

void text_add(struct text *self, const char *string)
{
	text_add_bytes(self, string, strlen(string));
}

void text_addf(struct text *self, const char *format, ...)
{
	va_list args;
	va_list again;
	int size;

	va_start(args, format);
	va_copy(again, args);
	size = vsnprintf(NULL, 0, format, args);
	if (size >= 0 && reserve(self, (size_t) size)) {
		(void) vsnprintf(self->data + self->size, (size_t) size + 1, format, again);
		self->size += (size_t) size;
	}
	va_end(again);
	va_end(args);
}

void text_clear(struct text *self)
{
	self->size = 0;
	if (self->data != NULL)
		self->data[0] = '\0';
}

char *text_take(struct text *self)
{
	char *taken;

	text_add(self, "");
	taken = self->has_failed ? NULL : self->data;
	if (self->has_failed)
		free(self->data);
	*self = TEXT_EMPTY;
	return taken;
}

char *text_format(const char *format, ...)
{
	va_list args;
	char *string = NULL;
	int size;

	va_start(args, format);
	size = vasprintf(&string, format, args);
	va_end(args);
	if (size < 0)
		abort();
	return string;
}

char *text_copy(const char *string)
{
	char *copy = strdup(string);

	if (copy == NULL)
		abort();
	return copy;
}

bool text_has_prefix(const char *string, const char *prefix)
{
	return strncmp(string, prefix, strlen(prefix)) == 0;
}

bool text_has_suffix(const char *string, const char *suffix)
{
	size_t size = strlen(string);
	size_t suffix_size = strlen(suffix);

	return size >= suffix_size && memcmp(string + size - suffix_size, suffix, suffix_size) == 0;
}

bool text_is_one_of(const char *string, const char *const *list)
{
	for (; *list != NULL; list++) {
		if (strcmp(string, *list) == 0)
			return true;
	}
	return false;
}

bool text_fit(char *buffer, size_t size, const char *format, ...)
{
	va_list args;
	int needed;

	va_start(args, format);
	needed = vsnprintf(buffer, size, format, args);
	va_end(args);
	if (needed >= 0 && (size_t) needed < size)
		return true;
	buffer[0] = '\0';
	return false;
}
