/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec.h"
#include "tests/unit/harness.h"

#include <string.h>

#define MINIMAL_PROCESS "\"process\":{\"args\":[\"true\"],\"cwd\":\"/\"}"

static bool accepts(const char *json)
{
	struct error err = ERROR_NONE;
	struct spec spec;

	if (spec_parse(&spec, json, strlen(json), "config.json", &err) < 0)
		return false;
	spec_deinit(&spec);
	return true;
}

static bool refuses(const char *json, const char *message)
{
	struct error err = ERROR_NONE;
	struct spec spec;

	if (spec_parse(&spec, json, strlen(json), "config.json", &err) == 0) {
		spec_deinit(&spec);
		return false;
	}
	return strstr(err.message, message) != NULL;
}

TEST(a_minimal_configuration_is_accepted)
{
	CHECK(accepts("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"rootfs\"}," MINIMAL_PROCESS "}"));
}

TEST(unknown_fields_and_nulls_are_ignored)
{
	CHECK(accepts("{\"ociVersion\":\"1.0.0\",\"what\":[1],\"hooks\":null,\"root\":{\"path\":\"r\",\"x\":{}}," MINIMAL_PROCESS "}"));
}

TEST(a_wrong_type_is_refused_with_its_place_and_value)
{
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"a\",5],\"cwd\":\"/\"}}",
		      "process.args[1]: expected a string, found the number 5"));
	CHECK(refuses("{\"ociVersion\":1}", "ociVersion: expected a string, found the number 1"));
	CHECK(refuses("{\"ociVersion\":true}", "ociVersion: expected a string, found true"));
	CHECK(refuses("{\"ociVersion\":[]}", "ociVersion: expected a string, found an array"));
	CHECK(refuses("{\"mounts\":[null]}", "mounts[0]: expected an object, found null"));
	CHECK(refuses("[]", "document: expected an object, found an array"));
	CHECK(refuses("{\"linux\":{\"resources\":{\"memory\":{\"limit\":\"1g\"}}}}",
		      "linux.resources.memory.limit: expected a whole number, found the string \"1g\""));
}

TEST(numbers_out_of_range_are_refused)
{
	CHECK(refuses("{\"process\":{\"user\":{\"uid\":4294967296}}}", "process.user.uid: expected a number from 0 to 4294967295"));
	CHECK(refuses("{\"process\":{\"user\":{\"uid\":-1}}}", "process.user.uid"));
	CHECK(refuses("{\"process\":{\"user\":{\"uid\":1.5}}}", "found the number 1.5"));
	CHECK(refuses("{\"process\":{\"rlimits\":[{\"soft\":-1}]}}", "process.rlimits[0].soft: expected a number, 0 or more, found the number -1"));
	CHECK(refuses("{\"linux\":{\"resources\":{\"memory\":{\"limit\":9223372036854775808}}}}", "limit: expected a whole number"));
}

TEST(text_with_nul_bytes_is_refused)
{
	CHECK(refuses("{\"hostname\":\"a\\u0000b\"}", "config.json: not JSON: NUL in a string at line 1, column 15"));
}

TEST(what_is_not_json_is_refused_with_its_position)
{
	CHECK(refuses("{\"ociVersion\":", "config.json: not JSON: unexpected end of data at line 1, column 15"));
	CHECK(refuses("{\n  \"ociVersion\": '1.0.0'\n}", "config.json: not JSON: unexpected character at line 2, column 17"));
	CHECK(refuses("", "not JSON"));
}

TEST(missing_parts_are_named)
{
	CHECK(refuses("{}", "ociVersion: missing"));
	CHECK(refuses("{\"ociVersion\":\"1.0.0\"}", "root.path: missing"));
	CHECK(refuses("{\"ociVersion\":\"2.0.0\"}", "ociVersion: '2.0.0' is not supported"));
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"/\"}}", "process.args: must not be empty"));
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"x\",\"args\":[\"a\"]}}",
		      "process.cwd: 'x' is not an absolute path"));
}

TEST(namespaces_are_known_and_unique)
{
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"pod\"}]}}",
		      "linux.namespaces[0].type: unknown namespace 'pod'"));
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}",
		      "linux.namespaces[1].type: 'pid' is there twice"));
}

TEST(settings_of_a_namespace_need_the_namespace)
{
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"hostname\":\"x\"}", "hostname: needs a uts namespace"));
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"user\"}],"
		      "\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1}]}}",
		      "linux.uidMappings"));
}

TEST(a_required_field_is_missed_by_its_name)
{
	CHECK(refuses("{\"mounts\":[{\"type\":\"tmpfs\"}]}", "config.json: mounts[0].destination: missing"));
	CHECK(refuses("{\"mounts\":[{\"destination\":null}]}", "mounts[0].destination: missing"));
	CHECK(refuses("{\"linux\":{\"seccomp\":{\"syscalls\":[{\"names\":[]}]}}}", "linux.seccomp.syscalls[0].action: missing"));
}

TEST(objects_with_names_are_lists_of_them)
{
	static const char json[] = "{\"ociVersion\":\"1.3.0\",\"root\":{\"path\":\"r\"}," MINIMAL_PROCESS ",\"linux\":{\"netDevices\":"
				   "{\"eth0\":{\"name\":\"a\"},\"eth1\":{}},\"resources\":{\"rdma\":{\"mlx\":{\"hcaObjects\":7}}}}}";
	struct error err = ERROR_NONE;
	struct spec spec;
	int r = spec_parse(&spec, json, sizeof(json) - 1, "config.json", &err);

	CHECK(r == 0);
	if (r < 0)
		return;
	CHECK(spec.linux_part.net_devices.count == 2 && strcmp(spec.linux_part.net_devices.items[0].name, "a") == 0);
	CHECK(strcmp(spec.linux_part.net_devices.items[1].host_name, "eth1") == 0 && spec.linux_part.net_devices.items[1].name == NULL);
	CHECK(spec.linux_part.resources.rdma.items[0].objects.value == 7 && !spec.linux_part.resources.rdma.items[0].handles.is_set);
	spec_deinit(&spec);
	CHECK(refuses("{\"linux\":{\"netDevices\":{\"eth0\":1}}}", "linux.netDevices.eth0: expected an object, found the number 1"));
	CHECK(refuses("{\"linux\":{\"netDevices\":[]}}", "linux.netDevices: expected an object of objects, found an array"));
}

TEST(devices_have_a_type_and_numbers)
{
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"devices\":[{\"type\":\"z\",\"path\":\"/dev/x\"}]}}",
		      "linux.devices[0].type: 'z' is not c, b, u or p"));
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"devices\":[{\"type\":\"c\",\"path\":\"/dev/x\","
		      "\"major\":1}]}}",
		      "linux.devices[0].minor: missing"));
}

TEST(limits_are_checked)
{
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"a\"],\"cwd\":\"/\","
		      "\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]}}",
		      "process.rlimits[0].type: unknown limit 'RLIMIT_X'"));
	CHECK(refuses("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"a\"],\"cwd\":\"/\","
		      "\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":2,\"hard\":1}]}}",
		      "process.rlimits[0].soft: above the hard limit"));
}

TEST(values_arrive_in_the_structures)
{
	static const char json[] = "{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"r\",\"readonly\":true},\"process\":{\"args\":[\"a\",\"b\"],"
				   "\"cwd\":\"/x\",\"user\":{\"uid\":7,\"additionalGids\":[1,2]}},\"annotations\":{\"k\":\"v\"},"
				   "\"linux\":{\"resources\":{\"memory\":{\"limit\":-1},\"cpu\":{\"shares\":18446744073709551615}}}}";
	struct error err = ERROR_NONE;
	struct spec spec;
	int r = spec_parse(&spec, json, sizeof(json) - 1, "config.json", &err);

	CHECK(r == 0);
	if (r < 0)
		return;
	CHECK(spec.root->is_readonly);
	CHECK(spec.process->args.count == 2 && strcmp(spec.process->args.items[1], "b") == 0 && spec.process->args.items[2] == NULL);
	CHECK(spec.process->user.uid == 7 && spec.process->user.additional_gids.items[1] == 2);
	CHECK(strcmp(spec_annotation(&spec, "k"), "v") == 0);
	CHECK(spec_annotation(&spec, "none") == NULL);
	CHECK(spec.linux_part.resources.memory.limit.is_set && spec.linux_part.resources.memory.limit.value == -1);
	CHECK(spec.linux_part.resources.cpu.shares.value == UINT64_MAX);
	spec_deinit(&spec);
}
