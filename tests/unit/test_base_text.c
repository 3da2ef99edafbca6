/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/owned.h"
#include "base/text.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>

TEST(text_grows_by_what_is_added)
{
	auto_text text = TEXT_EMPTY;
	auto_free char *taken = NULL;

	for (int i = 0; i < 100; i++)
		text_addf(&text, "%d,", i);
	text_add(&text, "end");
	CHECK(text.size == strlen(text.data));
	taken = text_take(&text);
	CHECK(taken != NULL && text_has_prefix(taken, "0,1,2,") && text_has_suffix(taken, "99,end"));
	CHECK(text.data == NULL);
}

TEST(what_does_not_fit_is_empty_and_not_cut)
{
	char small[4] = "abc";

	CHECK(!text_fit(small, sizeof(small), "%s", "abcd"));
	CHECK(small[0] == '\0');
	CHECK(text_fit(small, sizeof(small), "%d", 123) && strcmp(small, "123") == 0);
}

TEST(a_failure_names_every_step)
{
	struct error err = ERROR_NONE;

	CHECK(fail_errno(&err, ENOENT, "open '%s'", "/x") == -ENOENT);
	CHECK(fail_while(&err, "start container '%s'", "web") == -ENOENT);
	CHECK(strcmp(err.message, "start container 'web': open '/x': No such file or directory") == 0);
	CHECK(fail_because(&err, EINVAL, "name '%s' is taken", "web") == -EINVAL);
	CHECK(strcmp(err.message, "name 'web' is taken") == 0);
}
