/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as /proc/PID/uid_map, /etc/subuid and /etc/passwd, and as the mappings of a configuration: what is found is in there.
 */
#include "base/owned.h"
#include "runtime/id_map.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_files(const char *text)
{
	const struct spec_id_mapping wanted = {.host_id = 100000, .size = 65536};
	const struct spec_id_mapping part = {.host_id = 100001, .size = 7};
	auto_free char *name = passwd_name(text, 1000);

	if (name != NULL)
		assert(strstr(text, name) != NULL && strchr(name, ':') == NULL);
	if (id_map_is_initial(text))
		assert(strstr(text, "4294967295") != NULL);
	/* who has the whole has its parts */
	if (sub_ids_include(text, name, 1000, &wanted))
		assert(sub_ids_include(text, name, 1000, &part));
	if (id_map_includes(text, &wanted))
		assert(id_map_includes(text, &part));
}

static void use_mappings(const uint8_t *data, size_t size)
{
	struct spec_id_mapping items[ID_MAP_RANGES_MAX + 5];
	spec_id_mapping_list map = {.items = items, .count = size / sizeof(*items)};
	auto_free char *text = NULL;
	struct error err;
	uint32_t outer;

	if (map.count > sizeof(items) / sizeof(items[0]))
		map.count = sizeof(items) / sizeof(items[0]);
	memcpy(items, data, map.count * sizeof(*items));
	if (id_map_format(&map, "map", &text, &err) == 0)
		assert(map.count <= ID_MAP_RANGES_MAX && strlen(text) < ID_MAP_TEXT_SIZE);
	for (size_t i = 0; i < map.count; i++)
		assert(items[i].size == 0 || id_map_find(&map, items[i].container_id, &outer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);

	assert(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	read_files(text);
	use_mappings(data, size);
	return 0;
}
