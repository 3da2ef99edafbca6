/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "runtime/capabilities.h"
#include "runtime/container_json.h"
#include "runtime/device_rules.h"
#include "runtime/mount_options.h"
#include "runtime/number_set.h"
#include "runtime/process_program.h"
#include "runtime/schemata.h"
#include "runtime/signals.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static struct mount_options parse(const char *first, const char *second)
{
	const char *words[] = {first, second, NULL};
	struct json_strings strings = {.items = words, .count = second != NULL ? 2 : 1};
	struct mount_options options;

	CHECK(mount_options_parse(&strings, &options) == 0);
	return options;
}

static bool agrees(const char *wanted)
{
	return schemata_agree("    MB:0= 70;1=100\n    L3:0=0000f;1=000f0\n", wanted);
}

TEST(a_class_of_service_has_the_schemata_or_not)
{
	CHECK(agrees("") && agrees("L3:0=f\n") && agrees("L3:1=00F0;0=f\nMB:0=70\n") && agrees("  MB: 1=100; 0= 70\n"));
	CHECK(!agrees("L3:0=ff\n") && !agrees("L3:2=f\n") && !agrees("L2:0=f\n") && !agrees("L:0=f\n") && !agrees("L3:0\n") && !agrees("L3:0=\n"));
	CHECK(agrees("L3:0=ff\nL3:0=f\n") && !agrees("L3:0=f\nL3:0=ff\n"));
}

static char *wanted_lines(const char *cache, const char *bandwidth, const char *line)
{
	const char *lines[] = {line, NULL};
	struct spec_intel_rdt rdt = {.cache_schema = cache, .bandwidth_schema = bandwidth, .schemata = {.items = lines, .count = line != NULL}};

	return schemata_wanted(&rdt);
}

TEST(the_lines_for_a_class_of_service)
{
	auto_free char *none = wanted_lines(NULL, NULL, NULL);
	auto_free char *alone = wanted_lines("L3:0=f\nMB:0=1", NULL, NULL);
	auto_free char *all = wanted_lines("MB:0=1\nL3:0=f", "MB:0=70", "L2:0=3");

	CHECK(strcmp(none, "") == 0 && strcmp(alone, "L3:0=f\nMB:0=1\n") == 0 && strcmp(all, "L3:0=f\nMB:0=70\nL2:0=3\n") == 0);
}

TEST(a_later_mount_option_wins)
{
	CHECK((parse("ro", "rw").flags & MS_RDONLY) == 0);
	CHECK((parse("rw", "ro").flags & MS_RDONLY) != 0);
	CHECK(parse("ro", "rw").attributes_clear == MOUNT_ATTR_RDONLY);
	CHECK(parse("nosuid", "suid").attributes_set == 0);
	CHECK(parse("noatime", "relatime").flags == MS_RELATIME && parse("relatime", "strictatime").flags == MS_STRICTATIME);
}

TEST(words_that_are_not_options_belong_to_the_filesystem)
{
	CHECK(strcmp(parse("size=1m", "mode=755").data, "size=1m,mode=755") == 0);
	CHECK(parse("bind", NULL).data[0] == '\0');
}

TEST(recursive_options_are_kept_apart)
{
	struct mount_options options = parse("rbind", "rro");

	CHECK(options.flags == (MS_BIND | MS_REC));
	CHECK(options.recursive_set == MOUNT_ATTR_RDONLY);
	CHECK(options.attributes_set == 0);
	CHECK(parse("rslave", NULL).propagation == (MS_SLAVE | MS_REC));
}

TEST(filesystem_options_that_are_too_long_are_refused)
{
	static char word[5000];
	const char *words[] = {word, NULL};
	struct json_strings strings = {.items = words, .count = 1};
	struct mount_options options;

	memset(word, 'x', sizeof(word) - 1);
	CHECK(mount_options_parse(&strings, &options) < 0);
}

TEST(a_folder_of_the_root_is_known_however_it_is_written)
{
	const char *same[] = {"/proc", "/proc/", "//proc", "/./proc/.", "proc"}, *others[] = {"/process", "/proc/sys", "/", "", "/.proc", "/proc/..", "/a/proc"};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		CHECK(mount_is_at(same[i], "proc"));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK(!mount_is_at(others[i], "proc"));
}

TEST(signals_have_numbers_names_and_prefixes)
{
	int number = 0;

	CHECK(signal_parse("9", &number) == 0 && number == SIGKILL);
	CHECK(signal_parse("sigterm", &number) == 0 && number == SIGTERM);
	CHECK(signal_parse("Usr1", &number) == 0 && number == SIGUSR1);
	CHECK(signal_parse("RTMIN+3", &number) == 0 && number == 37);
	CHECK(signal_parse("SIGRTMAX-1", &number) == 0 && number == 63);
	CHECK(signal_parse("nope", &number) < 0);
	CHECK(signal_parse("65", &number) < 0);
	CHECK(signal_parse("-1", &number) < 0);
}

TEST(capabilities_are_found_in_any_spelling)
{
	unsigned int number = 99;

	CHECK(capability_parse("CAP_SYS_ADMIN", &number) == 0 && number == 21);
	CHECK(capability_parse("chown", &number) == 0 && number == 0);
	CHECK(capability_parse("CAP_NOTHING", &number) < 0);
	CHECK(strcmp(capability_name(40), "CAP_CHECKPOINT_RESTORE") == 0 && capability_name(41) == NULL);
}

TEST(device_rules_start_from_the_basic_devices)
{
	static struct device_rules rules;
	struct spec_resources resources = {0};
	struct error err;
	char text[64];

	CHECK(device_rules_init(&rules, &resources, &err) == 0);
	CHECK(!rules.allows_by_default && rules.count > 5 && !device_rules_allow_all(&rules));
	device_rule_format(&rules.items[2], text, sizeof(text));
	CHECK(strcmp(text, "c 1:3 rwm") == 0);
}

TEST(a_rule_for_all_devices_forgets_the_ones_before)
{
	static struct device_rules rules;
	struct spec_device_rule items[] = {{.is_allowed = false, .type = "c", .access = "rwm"}, {.is_allowed = true, .access = "rwm"}};
	struct spec_resources resources = {.devices = {.items = items, .count = 2}};
	struct error err;

	CHECK(device_rules_init(&rules, &resources, &err) == 0);
	CHECK(device_rules_allow_all(&rules));
}

TEST(bad_device_rules_are_refused)
{
	static struct device_rules rules;
	struct spec_device_rule item = {.is_allowed = true, .type = "z", .access = "r"};
	struct spec_resources resources = {.devices = {.items = &item, .count = 1}};
	struct error err;

	CHECK(device_rules_init(&rules, &resources, &err) < 0);
	item = (struct spec_device_rule){.is_allowed = true, .type = "c", .access = "rx"};
	CHECK(device_rules_init(&rules, &resources, &err) < 0);
}

TEST(lists_of_numbers_become_sets)
{
	struct number_set set = {0};

	CHECK(number_set_parse("0-2,64,1023", &set) == 0);
	CHECK(number_set_has(&set, 0) && number_set_has(&set, 2) && number_set_has(&set, 64) && number_set_has(&set, 1023));
	CHECK(!number_set_has(&set, 3) && !number_set_has(&set, 63) && !number_set_has(&set, 4096));
	CHECK(number_set_parse("1024", &set) == -ERANGE && number_set_parse("0-99999999999999999999", &set) == -ERANGE);
	CHECK(number_set_parse("", &set) == -EINVAL && number_set_parse("1,", &set) == -EINVAL);
	CHECK(number_set_parse("3-1", &set) == -EINVAL && number_set_parse(" 1", &set) == -EINVAL);
	CHECK(number_set_parse("-1", &set) == -EINVAL && number_set_parse("1x", &set) == -EINVAL);
	CHECK(number_set_has(&set, 64));
}

TEST(home_comes_from_passwd)
{
	static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\nbroken\nu:x:1000:1000::/home/u:\n";
	char *home = process_home_from_passwd(passwd, 1000);

	CHECK(strcmp(home, "/home/u") == 0);
	free(home);
	home = process_home_from_passwd(passwd, 5);
	CHECK(strcmp(home, "/") == 0);
	free(home);
}

TEST(a_stopped_container_has_pid_zero)
{
	struct container_state state = {.pid = {true, 42}, .id = "x", .oci_version = "1.0.0", .owner = {true, 0}};
	char *json = container_state_json(&state, CONTAINER_STOPPED, false);

	CHECK(strstr(json, "\"pid\":0,\"status\":\"stopped\"") != NULL);
	CHECK(strstr(json, "annotations") == NULL);
	free(json);
	json = container_state_json(&state, CONTAINER_RUNNING, false);
	CHECK(strstr(json, "\"pid\":42,\"status\":\"running\"") != NULL);
	free(json);
}

TEST(a_saved_state_reads_back)
{
	struct json_pair pair = {"key", "va\"lue"};
	struct container_state state = {.pid = {true, 42}, .start_time = {true, 7}, .id = "x", .bundle = "/b",
					.annotations = {.items = &pair, .count = 1}};
	struct container_state again = {0};
	struct spec_part part;
	struct error err;
	char *json = container_state_file(&state);

	CHECK(spec_part_parse(&part, container_state_fields, json, strlen(json), "state.json", &again, &err) == 0);
	CHECK(again.pid.value == 42 && again.start_time.value == 7 && strcmp(again.bundle, "/b") == 0);
	CHECK(again.annotations.count == 1 && strcmp(again.annotations.items[0].value, "va\"lue") == 0);
	spec_part_deinit(&part);
	free(json);
}
