/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/host_report.h"

#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static const char *text_in(yyjson_val *object, const char *key)
{
	const char *value = yyjson_get_str(yyjson_obj_get(object, key));

	return value != NULL ? value : "";
}

static uint64_t number_in(yyjson_val *object, const char *key)
{
	return yyjson_get_uint(yyjson_obj_get(object, key));
}

static double pressure_in(yyjson_val *object, const char *key)
{
	yyjson_val *value = yyjson_obj_get(object, key);

	return yyjson_is_num(value) ? yyjson_get_num(value) : -1;
}

static int take_containers(struct host_report *self, yyjson_val *list, struct error *err)
{
	yyjson_arr_iter iterator = yyjson_arr_iter_with(list);

	self->containers = calloc(yyjson_arr_size(list) + 1, sizeof(*self->containers));
	if (self->containers == NULL)
		return fail_errno(err, ENOMEM, "read what host '%s' says", self->name);
	for (yyjson_val *item = yyjson_arr_iter_next(&iterator); item != NULL; item = yyjson_arr_iter_next(&iterator)) {
		uint64_t age_ns = number_in(item, "ageNs");

		self->containers[self->container_count++] = (struct host_container){
			.namespace = text_in(item, "namespace"), .id = text_in(item, "id"), .immovable = text_in(item, "immovable"),
			.memory_bytes = number_in(item, "memoryBytes"), .age_ns = age_ns,
			.processors = age_ns > 0 ? (double) number_in(item, "cpuNs") / (double) age_ns : 0};
	}
	return 0;
}

int host_report_parse(struct host_report *self, const char *name, const char *json, struct error *err)
{
	yyjson_doc *document = yyjson_read(json, strlen(json), 0);
	yyjson_val *root = yyjson_doc_get_root(document);

	*self = (struct host_report){.name = text_copy(name), .problem = "", .document = document};
	if (!yyjson_is_obj(root))
		return fail_because(err, EPROTO, "what host '%s' says is not understood", name);
	self->problem = text_in(root, "problem");
	if (self->problem[0] == '\0')
		self->problem = text_in(root, "criuProblem");
	self->memory_bytes = number_in(root, "memoryBytes");
	self->available_bytes = number_in(root, "memoryAvailableBytes");
	self->processors = (unsigned) number_in(root, "processors");
	self->load_percent = (unsigned) number_in(root, "loadPercent");
	self->cpu_pressure = pressure_in(root, "cpuPressurePercent");
	self->memory_pressure = pressure_in(root, "memoryPressurePercent");
	self->io_pressure = pressure_in(root, "ioPressurePercent");
	return take_containers(self, yyjson_obj_get(root, "containers"), err);
}

void host_report_deinit(struct host_report *self)
{
	free(self->name);
	free(self->containers);
	yyjson_doc_free(self->document);
	*self = (struct host_report){.name = NULL};
}

bool host_report_has(const struct host_report *self, const char *namespace, const char *id)
{
	for (size_t i = 0; i < self->container_count; i++) {
		if (strcmp(self->containers[i].id, id) == 0 && strcmp(self->containers[i].namespace, namespace) == 0)
			return true;
	}
	return false;
}
