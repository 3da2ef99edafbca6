/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/schemata.h"

#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int check_lines(const struct json_strings *lines, struct error *err)
{
	for (size_t i = 0; i < lines->count; i++)
		if (strchr(lines->items[i], '\n') != NULL || strchr(lines->items[i], ':') == NULL)
			return fail_because(err, EINVAL, "linux.intelRdt.schemata[%zu]: '%.*s': expected one line such as L3:0=ff;1=f0", i,
					    (int) strcspn(lines->items[i], "\n"), lines->items[i]);
	return 0;
}

int schemata_check(const struct spec_intel_rdt *rdt, struct error *err)
{
	const char *bandwidth = rdt->bandwidth_schema;

	if (bandwidth != NULL && (!text_has_prefix(bandwidth, "MB:") || strchr(bandwidth, '\n') != NULL))
		return fail_because(err, EINVAL, "linux.intelRdt.memBwSchema: '%.*s': expected one line such as MB:0=70;1=20",
				    (int) strcspn(bandwidth, "\n"), bandwidth);
	return check_lines(&rdt->schemata, err);
}

/* A line about memory bandwidth in the cache's schema gives way to that one's own field (runtime-spec, linux.intelRdt). */
static void add_cache_lines(struct text *text, const char *schema, bool has_bandwidth)
{
	auto_free char *copy = text_copy(schema);
	char *rest = NULL;

	for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		if (!has_bandwidth || !text_has_prefix(line, "MB:"))
			text_addf(text, "%s\n", line);
}

/* A later line about the same resource wins: schemata overrides the others. */
char *schemata_wanted(const struct spec_intel_rdt *rdt)
{
	auto_text text = TEXT_EMPTY;
	char *wanted;

	if (rdt->cache_schema != NULL)
		add_cache_lines(&text, rdt->cache_schema, rdt->bandwidth_schema != NULL);
	if (rdt->bandwidth_schema != NULL)
		text_addf(&text, "%s\n", rdt->bandwidth_schema);
	for (size_t i = 0; i < rdt->schemata.count; i++)
		text_addf(&text, "%s\n", rdt->schemata.items[i]);
	wanted = text_take(&text);
	if (wanted == NULL)
		abort();
	return wanted;
}

static const char *skip(const char *text, const char *bytes)
{
	return text + strspn(text, bytes);
}

/* "00ff" is "ff", and "0" is "0". */
static bool same_value(const char *one, size_t one_size, const char *other, size_t other_size)
{
	for (; one_size > 1 && one[0] == '0'; one_size--)
		one++;
	for (; other_size > 1 && other[0] == '0'; other_size--)
		other++;
	return one_size == other_size && strncasecmp(one, other, one_size) == 0;
}

/* Whether the domains of a line ("0=ff;1=f0") have id=value. */
static bool has_domain(const char *line, const char *id, size_t id_size, const char *value, size_t value_size)
{
	for (const char *at = line; *at != '\0' && *at != '\n'; at += strcspn(at, ";\n"), at += *at == ';') {
		size_t size = strcspn((at = skip(at, " \t")), "=;\n");

		if (at[size] == '=' && same_value(at, size, id, id_size)) {
			at = skip(at + size + 1, " \t");
			return same_value(at, strcspn(at, "; \t\n"), value, value_size);
		}
	}
	return false;
}

/* What follows "L3:" in the file; NULL: no such line. */
static const char *find_resource(const char *current, const char *name, size_t size)
{
	for (const char *line = current; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *at = skip(line, " \t");

		if (strncmp(at, name, size) == 0 && at[size] == ':')
			return at + size + 1;
	}
	return NULL;
}

static bool line_agrees(const char *current, const char *line)
{
	size_t size = strcspn(line, ":");
	const char *domains = find_resource(current, line, size);

	if (domains == NULL)
		return false;
	for (const char *at = line + size + 1; *at != '\0'; at += strcspn(at, ";"), at += *at == ';') {
		size_t id_size = strcspn((at = skip(at, " \t")), "=;");
		const char *value = at[id_size] == '=' ? skip(at + id_size + 1, " \t") : at + id_size;

		if (*at != '\0' && !has_domain(domains, at, id_size, value, strcspn(value, "; \t")))
			return false;
	}
	return true;
}

bool schemata_agree(const char *current, const char *wanted)
{
	auto_free char *copy = text_copy(wanted);
	char *rest = NULL;

	for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		bool is_overridden;

		line += strspn(line, " \t");
		is_overridden = rest != NULL && find_resource(rest, line, strcspn(line, ":")) != NULL;
		if (!is_overridden && !line_agrees(current, line))
			return false;
	}
	return true;
}
