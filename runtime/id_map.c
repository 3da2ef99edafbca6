/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/id_map.h"

#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_SIZE 256

int id_map_format(const spec_id_mapping_list *map, const char *field, char **ret_text, struct error *err)
{
	auto_text text = TEXT_EMPTY;

	if (map->count > ID_MAP_RANGES_MAX)
		return fail_because(err, E2BIG, "%s: %zu ranges; the kernel takes %d", field, map->count, ID_MAP_RANGES_MAX);
	for (size_t i = 0; i < map->count; i++)
		text_addf(&text, "%u %u %u\n", map->items[i].container_id, map->items[i].host_id, map->items[i].size);
	if (text.size >= ID_MAP_TEXT_SIZE)
		return fail_because(err, E2BIG, "%s: %zu bytes as text; the kernel takes less than %d", field, text.size, ID_MAP_TEXT_SIZE);
	*ret_text = text_take(&text);
	return *ret_text != NULL ? 0 : fail_errno(err, ENOMEM, "write %s", field);
}

bool id_map_find(const spec_id_mapping_list *map, uint32_t inner, uint32_t *ret_outer)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct spec_id_mapping *item = &map->items[i];

		if (inner < item->container_id || inner - item->container_id >= item->size)
			continue;
		*ret_outer = item->host_id + (inner - item->container_id);
		return true;
	}
	return false;
}

/* The next field of a line that ends at end, up to a separator; several blanks are one. false: there is none, or it is too long. */
static bool take_field(const char **at, const char *end, char separator, char ret_field[static FIELD_SIZE])
{
	const char *from = *at;
	const char *to = from;

	if (from > end)
		return false;
	while (separator == ' ' && from < end && *from == ' ')
		from++;
	for (to = from; to < end && *to != separator; to++)
		;
	if ((separator == ' ' && to == from) || to - from >= FIELD_SIZE)
		return false;
	memcpy(ret_field, from, (size_t) (to - from));
	ret_field[to - from] = '\0';
	*at = to + 1;
	return true;
}

static bool read_id(const char *text, uint32_t *ret_id)
{
	uint64_t value;

	if (number_parse_u64(text, &value) < 0 || value > UINT32_MAX)
		return false;
	*ret_id = (uint32_t) value;
	return true;
}

static bool take_id(const char **at, const char *end, char separator, uint32_t *ret_id)
{
	char field[FIELD_SIZE];

	return take_field(at, end, separator, field) && read_id(field, ret_id);
}

bool id_map_is_initial(const char *text)
{
	const char *end = text + strcspn(text, "\n");
	uint32_t inner, outer, count;

	return take_id(&text, end, ' ', &inner) && take_id(&text, end, ' ', &outer) && take_id(&text, end, ' ', &count) && inner == 0 &&
	       outer == 0 && count == UINT32_MAX;
}

/* "name:first:count", or with the number of the user in the place of his name. */
static bool read_grant(const char *line, const char *end, const char *name, uint32_t uid, struct spec_id_mapping *ret_grant)
{
	char who[FIELD_SIZE];
	uint32_t number;

	if (!take_field(&line, end, ':', who))
		return false;
	if ((name == NULL || strcmp(who, name) != 0) && !(read_id(who, &number) && number == uid))
		return false;
	return take_id(&line, end, ':', &ret_grant->host_id) && take_id(&line, end, ':', &ret_grant->size);
}

static const char *next_line(const char *line)
{
	line += strcspn(line, "\n");
	return *line == '\n' ? line + 1 : line;
}

struct reader {
	bool (*read)(const struct reader *self, const char *line, const char *end, struct spec_id_mapping *ret_range);
	const char *name;
	uint32_t uid;
};

static bool read_sub_ids(const struct reader *self, const char *line, const char *end, struct spec_id_mapping *ret_range)
{
	return read_grant(line, end, self->name, self->uid, ret_range);
}

/* "inner outer count" */
static bool read_inner(const struct reader *self, const char *line, const char *end, struct spec_id_mapping *ret_range)
{
	uint32_t outer;

	(void) self;
	return take_id(&line, end, ' ', &ret_range->host_id) && take_id(&line, end, ' ', &outer) && take_id(&line, end, ' ', &ret_range->size);
}

/* The first id from `from` on that no line gives, when the lines are looked through once. */
static uint64_t extend(const struct reader *reader, const char *text, uint64_t from)
{
	for (const char *line = text; *line != '\0'; line = next_line(line)) {
		struct spec_id_mapping range = {0};

		if (reader->read(reader, line, line + strcspn(line, "\n"), &range) && range.host_id <= from &&
		    from < (uint64_t) range.host_id + range.size)
			from = (uint64_t) range.host_id + range.size;
	}
	return from;
}

static bool includes(const struct reader *reader, const char *text, const struct spec_id_mapping *wanted)
{
	uint64_t end = (uint64_t) wanted->host_id + wanted->size;
	uint64_t from = wanted->host_id;

	while (from < end) {
		uint64_t next = extend(reader, text, from);

		if (next == from)
			return false;
		from = next;
	}
	return true;
}

bool sub_ids_include(const char *text, const char *name, uint32_t uid, const struct spec_id_mapping *wanted)
{
	return includes(&(struct reader){read_sub_ids, name, uid}, text, wanted);
}

bool id_map_includes(const char *text, const struct spec_id_mapping *wanted)
{
	return includes(&(struct reader){.read = read_inner}, text, wanted);
}

char *passwd_name(const char *text, uint32_t uid)
{
	for (const char *line = text; *line != '\0'; line = next_line(line)) {
		const char *at = line, *end = line + strcspn(line, "\n");
		char name[FIELD_SIZE], password[FIELD_SIZE];
		uint32_t number;

		if (take_field(&at, end, ':', name) && take_field(&at, end, ':', password) && take_id(&at, end, ':', &number) && number == uid)
			return text_copy(name);
	}
	return NULL;
}
