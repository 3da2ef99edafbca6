/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit test harness: TEST(name) { ... } registers itself, output is TAP.
 */
#pragma once

#include <stdbool.h>

struct test_case {
	const char *name;
	void (*run)(void);
	struct test_case *next;
};

void harness_register(struct test_case *test);
void harness_check(bool holds, const char *claim, const char *file, int line);

#define TEST(name_)                                                                                \
	static void name_(void);                                                                   \
	static struct test_case name_##_case = {.name = #name_, .run = name_};                     \
	__attribute__((constructor)) static void name_##_register(void)                            \
	{                                                                                          \
		harness_register(&name_##_case);                                                   \
	}                                                                                          \
	static void name_(void)

#define CHECK(claim) harness_check((claim), #claim, __FILE__, __LINE__)
