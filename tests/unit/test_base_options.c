/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

struct options {
	bool detach;
	bool tty;
	const char *bundle;
	struct string_list env;
	int count;
};

static const struct option_entry entries[] = {
	{'d', "detach", NULL, OPTION_FLAG, offsetof(struct options, detach), "in the background"},
	{'t', "tty", NULL, OPTION_FLAG, offsetof(struct options, tty), "with a terminal"},
	{'b', "bundle", "DIR", OPTION_STRING, offsetof(struct options, bundle), "the bundle"},
	{'e', "env", "K=V", OPTION_LIST, offsetof(struct options, env), "a variable"},
	{0, "count", "N", OPTION_INT, offsetof(struct options, count), "a number"},
	{0, "criu", "PATH", OPTION_IGNORED, 0, NULL},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int parse(struct options *options, struct option_rest *rest, bool stops, struct error *err, const char *const *argv)
{
	struct option_table table = {entries, stops};
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	return options_parse(&table, argc, (char **) (uintptr_t) argv, options, rest, err);
}

#define ARGV(...) ((const char *[]){"program", __VA_ARGS__, NULL})

TEST(every_way_to_write_an_option_is_understood)
{
	struct options options = {0};
	struct option_rest rest;
	struct error err;

	CHECK(parse(&options, &rest, false, &err,
		    ARGV("-dt", "--bundle=/b", "id", "-e", "A=1", "--env", "B=2", "-count", "3", "--criu", "x", "-eC=3")) == 0);
	CHECK(options.detach && options.tty && options.count == 3);
	CHECK(strcmp(options.bundle, "/b") == 0);
	CHECK(options.env.count == 3 && strcmp(options.env.items[2], "C=3") == 0);
	CHECK(rest.count == 1 && strcmp(rest.positional[0], "id") == 0);
	option_rest_deinit(&rest);
	string_list_deinit(&options.env);
}

TEST(what_follows_the_command_belongs_to_the_command)
{
	struct options options = {0};
	struct option_rest rest;
	struct error err;

	CHECK(parse(&options, &rest, true, &err, ARGV("-t", "id", "ls", "-d", "--help")) == 0);
	CHECK(options.tty && !options.detach && !rest.wants_help && rest.count == 4);
	option_rest_deinit(&rest);
}

TEST(a_wrong_option_is_named)
{
	struct options options = {0};
	struct option_rest rest;
	struct error err;

	CHECK(parse(&options, &rest, false, &err, ARGV("--bindle")) == -EINVAL);
	CHECK(strstr(err.message, "--bindle") != NULL);
	CHECK(parse(&options, &rest, false, &err, ARGV("--bundle")) == -EINVAL);
	CHECK(strstr(err.message, "flag needs an argument: --bundle") != NULL);
	CHECK(parse(&options, &rest, false, &err, ARGV("--count", "three")) == -EINVAL);
	CHECK(strstr(err.message, "'three'") != NULL);
}

TEST(a_program_goes_on_unless_it_is_asked_what_it_is)
{
	const struct option_table table = {.entries = entries, .about = "a test"};
	char *argv[] = {(char[]){"program"}, (char[]){"--tty"}, (char[]){"id"}, (char[]){"--nope"}};
	struct options options = {0};
	struct option_rest rest = {0};
	struct error err;

	CHECK(options_begin(&table, 4, argv, &options, &rest, &err) == -EINVAL && rest.positional == NULL);
	CHECK(options_begin(&table, 3, argv, &options, &rest, &err) == 1 && rest.count == 1 && options.tty);
	option_rest_deinit(&rest);
}
