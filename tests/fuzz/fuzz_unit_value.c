/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as the value of an annotation `org.systemd.property.NAME`: refused, or words that are exactly those which the
 * signature before them promises.
 */
#include "base/owned.h"
#include "runtime/unit_value.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Behind the complete type at `at`. */
static const char *type_end(const char *at)
{
	while (*at == 'a')
		at++;
	if (*at++ != '(')
		return at;
	while (*at != ')')
		at = type_end(at);
	return at + 1;
}

/* Takes the words of the complete type at `at`. */
static void consume(const char *at, const char *const **words)
{
	assert(*at != '\0' && **words != NULL);
	if (*at == 'a') {
		for (size_t count = strtoul(*(*words)++, NULL, 10); count > 0; count--)
			consume(at + 1, words);
	} else if (*at == '(') {
		for (at++; *at != ')'; at = type_end(at))
			consume(at, words);
	} else {
		assert(strchr("ynqiuxtdbsog", *at) != NULL);
		(*words)++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = ARENA_EMPTY;
	struct unit_words words = {.arena = &arena};
	auto_free char *text = malloc(size + 1);
	struct error err = ERROR_NONE;
	struct json_pair pair = {.key = "org.systemd.property.TimeoutStopSec", .value = text};
	struct json_map map = {.items = &pair, .count = 1};

	assert(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (unit_value_parse("Name", text, &words, &err) == 0) {
		const char *const *at = words.items + 1;

		consume(words.items[0], &at);
		assert(*type_end(words.items[0]) == '\0' && at == words.items + words.count);
	}
	words.count = 0;
	if (unit_values_of_annotations(&map, &words, &err) == 0)
		assert(words.count == 3 && strcmp(words.items[0], "TimeoutStopUSec") == 0 && strcmp(words.items[1], "t") == 0);
	arena_deinit(&arena);
	return 0;
}
