/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any linux.seccomp, made of the input by its structure: what the check lets pass is compiled or refused with words, within the kernel's limit, and
 * whatever differs has another key in the cache.
 */
#include "base/owned.h"
#include "runtime/seccomp_cache.h"
#include "runtime/seccomp_filter.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RULES_MAX     6
#define WORDS_MAX     4
#define ARGUMENTS_MAX 7

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of the input; zeros after its end. */
struct input {
	const uint8_t *data;
	size_t size;
};

struct profile {
	struct spec_seccomp spec;
	struct spec_seccomp_rule rules[RULES_MAX];
	struct spec_seccomp_argument arguments[RULES_MAX][ARGUMENTS_MAX];
	const char *names[RULES_MAX][WORDS_MAX], *architectures[WORDS_MAX], *flags[WORDS_MAX];
};

static const char *const calls[] = {"read", "write", "mkdir", "clone", "socket", "sendmsg", "no_such_call", "socketcall", "", "ptrace", NULL};

static unsigned take(struct input *from, unsigned limit)
{
	if (from->size == 0)
		return 0;
	from->size--;
	return *from->data++ % limit;
}

static const char *take_word(struct input *from, const char *const *words)
{
	unsigned count = 0;

	while (words[count] != NULL)
		count++;
	count = take(from, count + 1);
	return words[count] != NULL ? words[count] : "SOMETHING_ELSE";
}

static void take_words(struct input *from, const char *const *words, const char **room, struct json_strings *ret_words)
{
	*ret_words = (struct json_strings){.items = room, .count = take(from, WORDS_MAX + 1)};
	for (size_t i = 0; i < ret_words->count; i++)
		room[i] = take_word(from, words);
}

static struct json_uint take_number(struct input *from)
{
	uint64_t value = 0;

	for (unsigned bytes = take(from, 9); bytes > 0; bytes--)
		value = value << 8 | take(from, 256);
	return (struct json_uint){.is_set = take(from, 2) != 0, .value = value};
}

static void take_rule(struct input *from, struct profile *to, size_t index)
{
	struct spec_seccomp_rule *rule = &to->rules[index];

	*rule = (struct spec_seccomp_rule){.action = take_word(from, seccomp_action_names), .errno_value = take_number(from)};
	take_words(from, calls, to->names[index], &rule->names);
	rule->arguments.items = to->arguments[index];
	rule->arguments.count = take(from, ARGUMENTS_MAX + 1);
	for (size_t i = 0; i < rule->arguments.count; i++)
		to->arguments[index][i] = (struct spec_seccomp_argument){.index = take_number(from), .value = take_number(from), .value_two = take_number(from),
									 .operator = take_word(from, seccomp_operator_names)};
}

static void take_profile(struct input *from, struct profile *to)
{
	memset(to, 0, sizeof(*to));
	to->spec.default_action = take_word(from, seccomp_action_names);
	to->spec.default_errno = take_number(from);
	take_words(from, seccomp_architecture_names, to->architectures, &to->spec.architectures);
	take_words(from, seccomp_flag_names, to->flags, &to->spec.flags);
	to->spec.listener_path = take(from, 2) != 0 ? "/run/listener" : NULL;
	to->spec.rules.items = to->rules;
	to->spec.rules.count = take(from, RULES_MAX + 1);
	for (size_t i = 0; i < to->spec.rules.count; i++)
		take_rule(from, to, i);
}

static void compare_keys(const struct profile *profile)
{
	struct profile other = *profile;
	auto_free char *key = NULL;
	auto_free char *same = NULL;
	auto_free char *differing = NULL;
	size_t size, same_size, differing_size;

	seccomp_cache_key(&profile->spec, &key, &size);
	seccomp_cache_key(&other.spec, &same, &same_size);
	assert(size == same_size && memcmp(key, same, size) == 0);
	other.spec.default_errno.value++;
	seccomp_cache_key(&other.spec, &differing, &differing_size);
	assert(size != differing_size || memcmp(key, differing, size) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input from = {data, size};
	struct seccomp_filter filter = {0};
	struct error err = ERROR_NONE;
	struct profile profile;

	take_profile(&from, &profile);
	compare_keys(&profile);
	if (seccomp_begin(&filter, &profile.spec, &err) < 0 || seccomp_compile(&filter, &profile.spec, &err) < 0)
		assert(err.code < 0 && err.message[0] != '\0');
	else
		assert(filter.count > 0 && filter.count <= SECCOMP_INSTRUCTIONS_MAX);
	seccomp_filter_deinit(&filter);
	return 0;
}
