/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/harness.h"

#include <stdio.h>
#include <stdlib.h>

static struct test_case *first_test;
static struct test_case **last_link = &first_test;
static bool current_failed;

void harness_register(struct test_case *test)
{
	*last_link = test;
	last_link = &test->next;
}

void harness_check(bool holds, const char *claim, const char *file, int line)
{
	if (holds)
		return;
	current_failed = true;
	printf("# %s:%d: expected %s\n", file, line, claim);
}

int main(void)
{
	int number = 0;
	bool any_failed = false;

	for (struct test_case *test = first_test; test != NULL; test = test->next) {
		current_failed = false;
		test->run();
		printf("%sok %d - %s\n", current_failed ? "not " : "", ++number, test->name);
		any_failed |= current_failed;
	}
	printf("1..%d\n", number);
	return any_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
