/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "base/text.h"
#include "runtime/systemd_unit.h"
#include "runtime/unit_properties.h"
#include "runtime/unit_value.h"
#include "tests/unit/harness.h"

#include <stdio.h>
#include <string.h>

#define MAJORS "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n259 blkext\n"

static void check_text(const char *result, const char *wanted)
{
	bool is_same = strcmp(result, wanted) == 0;

	if (!is_same)
		(void) printf("# found: %s\n# not:   %s\n", result, wanted);
	CHECK(is_same);
}

/* All words with a blank between. */
static char *join(const struct unit_words *words)
{
	auto_text text = TEXT_EMPTY;

	for (size_t i = 0; i < words->count; i++)
		text_addf(&text, "%s%s", i > 0 ? " " : "", words->items[i]);
	return text_take(&text);
}

static char *unit(const char *cgroups_path, const char *id, bool is_user)
{
	struct error err = ERROR_NONE;
	struct systemd_unit found;
	char path[CGROUP_PATH_SIZE];

	if (systemd_unit_init(&found, cgroups_path, id, is_user, &err) < 0 || systemd_unit_path(&found, path, &err) < 0)
		return text_copy(text_has_prefix(err.message, "linux.cgroupsPath: ") ? "refused" : err.message);
	return text_format("%s|%s|%s", found.slice, found.name, path);
}

TEST(a_cgroups_path_names_a_unit)
{
	static const struct {
		const char *wanted, *id, *result;
		bool is_user;
	} table[] = {
		{NULL, "web", "system.slice|hydra-web.scope|/system.slice/hydra-web.scope"},
		{"", "web", "user.slice|hydra-web.scope|/user.slice/hydra-web.scope", true},
		{"machine.slice:libpod:abc", "x", "machine.slice|libpod-abc.scope|/machine.slice/libpod-abc.scope"},
		{":runc:abc", "x", "system.slice|runc-abc.scope|/system.slice/runc-abc.scope"},
		{":runc:abc", "x", "user.slice|runc-abc.scope|/user.slice/runc-abc.scope", true},
		{"a.slice::abc", "x", "a.slice|abc.scope|/a.slice/abc.scope"},
		{"a-b-c.slice:p:n", "x", "a-b-c.slice|p-n.scope|/a.slice/a-b.slice/a-b-c.slice/p-n.scope"},
		{"-.slice:p:n", "x", "-.slice|p-n.scope|/p-n.scope"},
		{"::pod-1.slice", "x", "|pod-1.slice|/pod.slice/pod-1.slice"},
		{NULL, "a+b", "system.slice|hydra-a\\x2bb.scope|/system.slice/hydra-a\\x2bb.scope"},
		{"/hydra/web", "x", "refused"},
		{"a.slice:web", "x", "refused"},
		{"a.slice:b:", "x", "refused"},
		{"a.slice:b:c:d", "x", "refused"},
		{"a:b:c", "x", "refused"},
		{".slice:b:c", "x", "refused"},
		{"-a.slice:b:c", "x", "refused"},
		{"a-.slice:b:c", "x", "refused"},
		{"a--b.slice:b:c", "x", "refused"},
		{"a/b.slice:b:c", "x", "refused"},
		{"a.slice:b/c:d", "x", "refused"},
		{"::-.slice", "x", "refused"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		auto_free char *result = unit(table[i].wanted, table[i].id, table[i].is_user);

		check_text(result, table[i].result);
	}
}

TEST(names_that_are_too_long_are_refused)
{
	char name[400] = "a.slice:b:";

	memset(name + strlen(name), 'x', sizeof(name) - strlen(name) - 1);
	name[sizeof(name) - 1] = '\0';

	auto_free char *result = unit(name, "x", false);
	auto_free char *by_id = unit(NULL, name + 10, false);

	check_text(result, "refused");
	check_text(by_id, "refused");
}

static char *value(const char *text)
{
	struct arena arena = ARENA_EMPTY;
	struct unit_words words = {.arena = &arena};
	struct error err = ERROR_NONE;
	char *result = unit_value_parse("Name", text, &words, &err) < 0
			       ? text_copy(text_has_prefix(err.message, "annotations.org.systemd.property.Name: ") ? "refused" : err.message)
			       : join(&words);

	arena_deinit(&arena);
	return result;
}

TEST(values_of_annotations_have_the_type_they_are_written_as)
{
	static const struct {
		const char *text, *result;
	} table[] = {
		{"'text'", "s text"},
		{"\"it's\"", "s it's"},
		{"'a\\'b\\\\\\n'", "s a'b\\\n"},
		{"true", "b true"},
		{" false ", "b false"},
		{"5", "i 5"},
		{"-5", "i -5"},
		{"+5", "i 5"},
		{"1.5", "d 1.5"},
		{"uint64 18446744073709551615", "t 18446744073709551615"},
		{"int64 -9223372036854775808", "x -9223372036854775808"},
		{"byte 255", "y 255"},
		{"double 2", "d 2"},
		{"objectpath '/a'", "o /a"},
		{"string 'x'", "s x"},
		{"['a', 'b']", "as 2 a b"},
		{"[uint64 1, 2]", "at 2 1 2"},
		{"[uint64 1, uint64 2]", "at 2 1 2"},
		{"@as []", "as 0"},
		{"@au [1, 2]", "au 2 1 2"},
		{"@a(ss) [('/dev/null', 'rw')]", "a(ss) 1 /dev/null rw"},
		{"[('a', uint64 1), ('b', 2)]", "a(st) 2 a 1 b 2"},
		{"[[1], [2, 3]]", "aai 2 1 1 2 2 3"},
		{"(true, 1)", "(bi) true 1"},
		{"", "refused"},
		{"text", "refused"},
		{"'text", "refused"},
		{"'\\q'", "refused"},
		{"'a' 'b'", "refused"},
		{"2147483648", "refused"},
		{"byte 256", "refused"},
		{"uint32 -1", "refused"},
		{"uint64 x", "refused"},
		{"uint64", "refused"},
		{"double nan", "refused"},
		{"[]", "refused"},
		{"[1, 'a']", "refused"},
		{"[1 2]", "refused"},
		{"[1,", "refused"},
		{"()", "refused"},
		{"@", "refused"},
		{"@a []", "refused"},
		{"@() 1", "refused"},
		{"@(s ('a')", "refused"},
		{"@ss 'a'", "refused"},
		{"@v <1>", "refused"},
		{"[[[[[[[[[1]]]]]]]]]", "refused"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		auto_free char *result = value(table[i].text);

		check_text(result, table[i].result);
	}
}

static char *annotation(const char *key, const char *text)
{
	struct arena arena = ARENA_EMPTY;
	struct unit_words words = {.arena = &arena};
	struct json_pair pair = {.key = key, .value = text};
	struct json_map map = {.items = &pair, .count = 1};
	struct error err = ERROR_NONE;
	char *result = unit_values_of_annotations(&map, &words, &err) < 0 ? text_copy("refused") : join(&words);

	arena_deinit(&arena);
	return result;
}

TEST(annotations_are_properties_when_their_name_says_so)
{
	static const struct {
		const char *key, *text, *result;
	} table[] = {
		{"org.systemd.property.CollectMode", "'inactive'", "CollectMode s inactive"},
		{"org.systemd.property.TimeoutStopSec", "90", "TimeoutStopUSec t 90000000"},
		{"org.systemd.property.TimeoutStopSec", "uint64 2", "TimeoutStopUSec t 2000000"},
		{"org.systemd.property.TimeoutStopSec", "1.25", "TimeoutStopUSec t 1250000"},
		{"org.systemd.property.TimeoutStopUSec", "uint64 1", "TimeoutStopUSec t 1"},
		{"org.systemd.property.FOOSec", "1", "FOOSec i 1"},
		{"org.systemd.property.TimeoutStopSec", "-1", "refused"},
		{"org.systemd.property.TimeoutStopSec", "'1'", "refused"},
		{"org.systemd.property.TimeoutStopSec", "[1]", "refused"},
		{"org.systemd.property.AB", "1", "refused"},
		{"org.systemd.property.", "1", "refused"},
		{"org.systemd.property.A-b", "1", "refused"},
		{"org.systemd.propertyX", "anything", ""},
		{"run.oci.systemd.subgroup", "x", ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		auto_free char *result = annotation(table[i].key, table[i].text);

		check_text(result, table[i].result);
	}
}

static char *limits(const char *json, bool is_unified, bool is_new)
{
	struct arena arena = ARENA_EMPTY;
	struct unit_words words = {.arena = &arena};
	struct spec_resources resources = {0};
	struct spec_part part = {0};
	struct error err = ERROR_NONE;
	char *result;

	CHECK(spec_part_parse(&part, spec_resources_fields, json, strlen(json), "resources", &resources, &err) == 0);
	if (unit_properties_of_resources(&resources, MAJORS, is_unified, is_new, &words, &err) < 0)
		result = text_copy(err.message);
	else
		result = join(&words);
	arena_deinit(&arena);
	spec_part_deinit(&part);
	return result;
}

TEST(limits_are_properties_of_cgroup_v2)
{
	static const struct {
		const char *json, *result;
	} table[] = {
		{"{}", ""},
		{"{\"memory\": {\"limit\": 1000, \"reservation\": 500, \"swap\": 1500}}",
		 "MemoryMax t 1000 MemoryLow t 500 MemorySwapMax t 500"},
		{"{\"memory\": {\"limit\": -1, \"swap\": -1}}", "MemoryMax t 18446744073709551615 MemorySwapMax t 18446744073709551615"},
		{"{\"memory\": {\"limit\": 1000, \"swap\": 1000}}", "MemoryMax t 1000 MemorySwapMax t 0"},
		{"{\"memory\": {\"limit\": 0}}", ""},
		{"{\"pids\": {\"limit\": 7}}", "TasksMax t 7"},
		{"{\"pids\": {\"limit\": -1}}", "TasksMax t 18446744073709551615"},
		{"{\"cpu\": {\"shares\": 1024}}", "CPUWeight t 39"},
		{"{\"cpu\": {\"shares\": 1024, \"idle\": 1}}", "CPUWeight t 0"},
		{"{\"cpu\": {\"quota\": 25000, \"period\": 50000}}", "CPUQuotaPeriodUSec t 50000 CPUQuotaPerSecUSec t 500000"},
		{"{\"cpu\": {\"quota\": 33333}}", "CPUQuotaPerSecUSec t 340000"},
		{"{\"cpu\": {\"quota\": -1}}", "CPUQuotaPerSecUSec t 18446744073709551615"},
		{"{\"cpu\": {\"cpus\": \"0-2,9\", \"mems\": \"0\"}}", "AllowedCPUs ay 2 7 2 AllowedMemoryNodes ay 1 1"},
		{"{\"cpu\": {\"cpus\": \"x\"}}", "linux.resources.cpu.cpus: 'x' is not a list such as 0-3,7"},
		{"{\"blockIO\": {\"weight\": 500, \"throttleReadBpsDevice\": [{\"major\": 8, \"minor\": 0, \"rate\": 9}]}}",
		 "IOWeight t 4950 IOReadBandwidthMax a(st) 1 /dev/block/8:0 9"},
		{"{\"unified\": {\"memory.max\": \"64k\", \"memory.high\": \"max\", \"memory.oom.group\": \"1\"}}",
		 "MemoryMax t 65536 MemoryHigh t 18446744073709551615"},
		{"{\"unified\": {\"cpu.max\": \"50000 100000\"}}", "CPUQuotaPeriodUSec t 100000 CPUQuotaPerSecUSec t 500000"},
		{"{\"unified\": {\"cpu.max\": \"max\"}}", "CPUQuotaPerSecUSec t 18446744073709551615"},
		{"{\"unified\": {\"cpu.weight\": \"50\", \"io.weight\": \"default 70\", \"cpuset.cpus\": \"1\"}}",
		 "CPUWeight t 50 IOWeight t 70 AllowedCPUs ay 1 2"},
		{"{\"unified\": {\"io.weight\": \"8:0 70\"}}", ""},
		{"{\"unified\": {\"cpu.idle\": \"1\"}}", "CPUWeight t 0"},
		{"{\"unified\": {\"pids.max\": \"many\"}}", "linux.resources.unified: 'many' is not a value of pids.max"},
		{"{\"unified\": {\"cpu.max\": \"5 0\"}}", "linux.resources.unified: '5 0' is not a value of cpu.max"},
		{"{\"unified\": {\"cpuset.mems\": \"-1\"}}", "linux.resources.unified: '-1' is not a list such as 0-3,7"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		auto_free char *result = limits(table[i].json, true, false);

		check_text(result, table[i].result);
	}
}

TEST(limits_are_properties_of_cgroup_v1)
{
	auto_free char *result = limits("{\"memory\": {\"limit\": 1000, \"swap\": 2000}, \"cpu\": {\"shares\": 512, \"cpus\": \"0\"},"
					" \"blockIO\": {\"weight\": 500}, \"unified\": {\"memory.high\": \"1\"}}", false, false);

	check_text(result, "MemoryLimit t 1000 BlockIOWeight t 500 CPUShares t 512");
}

TEST(device_rules_are_what_systemd_can_say_of_them)
{
	auto_free char *some = limits("{\"devices\": [{\"allow\": false, \"access\": \"rwm\"},"
				      " {\"allow\": true, \"type\": \"c\", \"major\": 10, \"minor\": 229, \"access\": \"rw\"},"
				      " {\"allow\": true, \"type\": \"b\", \"major\": 8, \"access\": \"r\"},"
				      " {\"allow\": true, \"type\": \"b\", \"major\": 77, \"access\": \"r\"},"
				      " {\"allow\": false, \"type\": \"c\", \"major\": 10, \"minor\": 1, \"access\": \"rw\"}]}", true, false);
	auto_free char *all = limits("{\"devices\": [{\"allow\": true, \"access\": \"rwm\"}]}", true, false);
	auto_free char *new = limits("{}", true, true);

	CHECK(strstr(some, "DevicePolicy s strict DeviceAllow a(ss) 0 DeviceAllow a(ss) 12 /dev/char/10:229 rw block-sd r char-* m "
			   "block-* m /dev/char/1:3 rwm ") == some);
	CHECK(strstr(some, " char-pts rwm") != NULL);
	check_text(all, "DevicePolicy s auto DeviceAllow a(ss) 0");
	CHECK(strstr(new, "DeviceAllow a(ss) 10 char-* m") != NULL);
}

TEST(a_unit_says_whose_it_is)
{
	struct arena arena = ARENA_EMPTY;
	struct unit_words words = {.arena = &arena};
	struct systemd_unit scope = {.name = "hydra-web.scope", .slice = "a.slice"};
	struct systemd_unit slice = {.name = "a.slice", .is_slice = true};

	unit_properties_of_unit(&scope, "web", "file:/run/hydra/web", true, &words);

	auto_free char *text = join(&words);

	check_text(text, "Description s container web Documentation as 1 file:/run/hydra/web Slice s a.slice Delegate b true "
			   "DefaultDependencies b false CollectMode s inactive-or-failed CPUAccounting b true MemoryAccounting b true "
			   "TasksAccounting b true IOAccounting b true");
	words.count = 0;
	unit_properties_of_unit(&slice, "web", "file:/x", false, &words);

	auto_free char *other = join(&words);

	CHECK(strstr(other, "Slice s") == NULL && strstr(other, "Delegate") == NULL && strstr(other, "BlockIOAccounting b true") != NULL);
	arena_deinit(&arena);
}
