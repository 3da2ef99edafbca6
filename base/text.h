/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that grows. A failed allocation is remembered and reported by text_take().
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
	char *data; /* NUL-terminated when size > 0 */
	size_t size;
	size_t capacity;
	bool has_failed;
};

#define TEXT_EMPTY ((struct text){.data = NULL})
#define auto_text  __attribute__((cleanup(text_deinit))) struct text

void text_deinit(struct text *self);
void text_add(struct text *self, const char *string);
void text_add_bytes(struct text *self, const void *data, size_t size);
void text_addf(struct text *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *self);
/* The collected string ("" when nothing was added), the caller's to free; NULL when memory ran out. */
char *text_take(struct text *self);

/* A formatted string, the caller's to free; aborts the program when memory runs out (short-lived programs only). */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_copy(const char *string);

bool text_has_prefix(const char *string, const char *prefix);
bool text_has_suffix(const char *string, const char *suffix);
bool text_is_one_of(const char *string, const char *const *list); /* list ends with NULL */

/* Formats into a fixed buffer. Returns false (and an empty string) when it does not fit. */
bool text_fit(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
