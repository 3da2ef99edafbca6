/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "runtime/id_map.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct spec_id_mapping ranges[] = {{0, 1000, 1}, {1, 100000, 65536}, {70000, 4294967290, 5}};
static const spec_id_mapping_list map = {.items = ranges, .count = 3};

TEST(a_map_is_written_as_the_kernel_reads_it)
{
	auto_free char *text = NULL;
	struct error err;

	CHECK(id_map_format(&map, "f", &text, &err) == 0);
	CHECK(strcmp(text, "0 1000 1\n1 100000 65536\n70000 4294967290 5\n") == 0);
}

TEST(more_ranges_than_the_kernel_takes_are_refused)
{
	static struct spec_id_mapping many[ID_MAP_RANGES_MAX + 1];
	spec_id_mapping_list list = {.items = many, .count = ID_MAP_RANGES_MAX + 1};
	auto_free char *text = NULL;
	struct error err;

	CHECK(id_map_format(&list, "linux.uidMappings", &text, &err) == -E2BIG);
	CHECK(strcmp(err.message, "linux.uidMappings: 341 ranges; the kernel takes 340") == 0);
	list.count--;
	CHECK(id_map_format(&list, "linux.uidMappings", &text, &err) == 0);
	for (size_t i = 0; i < list.count; i++)
		many[i] = (struct spec_id_mapping){1000000, 1000000, 1};
	CHECK(id_map_format(&list, "linux.uidMappings", &(char *){NULL}, &err) == -E2BIG && strstr(err.message, "bytes as text") != NULL);
}

TEST(inner_ids_have_outer_ones)
{
	uint32_t outer = 7;

	CHECK(id_map_find(&map, 0, &outer) && outer == 1000);
	CHECK(id_map_find(&map, 65536, &outer) && outer == 165535);
	CHECK(id_map_find(&map, 70004, &outer) && outer == 4294967294);
	CHECK(!id_map_find(&map, 65537, &outer) && !id_map_find(&map, 70005, &outer) && outer == 4294967294);
}

TEST(only_the_initial_namespace_maps_everything_to_itself)
{
	CHECK(id_map_is_initial("         0          0 4294967295\n"));
	CHECK(id_map_is_initial("0 0 4294967295"));
	CHECK(!id_map_is_initial("0 0 65536\n") && !id_map_is_initial("0 1000 1\n1 100000 65536\n"));
	CHECK(!id_map_is_initial("") && !id_map_is_initial("\n") && !id_map_is_initial("0 0 4294967296") && !id_map_is_initial("0 0"));
}

TEST(a_namespace_gives_what_it_has_inside)
{
	static const char text[] = "         0     100000       1000\n      1000          5          1\n      2000     200000       1000\n";
	const struct spec_id_mapping all = {.host_id = 0, .size = 1001}, gap = {.host_id = 1000, .size = 2}, last = {.host_id = 2999, .size = 1};

	CHECK(id_map_includes(text, &all) && id_map_includes(text, &last));
	CHECK(!id_map_includes(text, &gap) && !id_map_includes("", &last) && !id_map_includes("0 0", &all));
}

static bool gives(const char *text, uint32_t first, uint32_t size)
{
	const struct spec_id_mapping wanted = {.host_id = first, .size = size};

	return sub_ids_include(text, "joe", 1000, &wanted);
}

TEST(ranges_are_given_by_name_and_by_number)
{
	CHECK(gives("root:1:1\njoe:100000:65536\n", 100000, 65536));
	CHECK(gives("1000:100000:65536", 165535, 1));
	CHECK(!gives("jo:100000:65536\njoey:100000:65536\n10000:100000:65536\n", 100000, 1));
	CHECK(!gives("joe:100000:65536\n", 99999, 2) && !gives("joe:100000:65536\n", 165535, 2));
}

TEST(ranges_side_by_side_are_one)
{
	CHECK(gives("joe:200:100\nann:0:9\njoe:100:100\n1000:300:1\n", 100, 201));
	CHECK(!gives("joe:200:100\njoe:100:99\n", 100, 200));
	CHECK(gives("joe:4294967290:6\n", 4294967290, 5));
}

TEST(lines_that_are_not_ranges_give_nothing)
{
	CHECK(!gives("", 1, 1) && !gives("joe\njoe:\njoe:1\njoe:x:5\njoe:1:\n:1:1\n\n", 1, 1));
	CHECK(!gives("joe:-1:5\njoe:1:4294967296\njoe: 1:1\n", 1, 1));
}

TEST(users_are_found_by_number)
{
	static const char passwd[] = "root:x:0:0::/root:/bin/sh\n\nbroken\njoe:x:1000:1000::/home/joe:/bin/sh\nann::1001:1001";
	auto_free char *joe = passwd_name(passwd, 1000);
	auto_free char *ann = passwd_name(passwd, 1001);

	CHECK(joe != NULL && strcmp(joe, "joe") == 0);
	CHECK(ann != NULL && strcmp(ann, "ann") == 0);
	CHECK(passwd_name(passwd, 5) == NULL && passwd_name("", 0) == NULL);
}
