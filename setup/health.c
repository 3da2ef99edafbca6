/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process object of a health check: the container's own with another command.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "setup/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define CONFIG_SIZE_MAX (4U << 20)

static char *process_with_command(yyjson_doc *config, const char *command)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *process = yyjson_val_mut_copy(doc, yyjson_obj_get(yyjson_doc_get_root(config), "process"));
	yyjson_mut_val *args;
	char *json = NULL;

	if (process != NULL) {
		(void) yyjson_mut_obj_remove_key(process, "args");
		(void) yyjson_mut_obj_remove_key(process, "terminal");
		(void) yyjson_mut_obj_remove_key(process, "consoleSize");
		args = yyjson_mut_obj_add_arr(doc, process, "args");
		(void) yyjson_mut_arr_add_str(doc, args, "/bin/sh");
		(void) yyjson_mut_arr_add_str(doc, args, "-c");
		(void) yyjson_mut_arr_add_str(doc, args, command);
		yyjson_mut_doc_set_root(doc, process);
		json = yyjson_mut_write(doc, 0, NULL);
	}
	yyjson_mut_doc_free(doc);
	return json;
}

int health_prepare(record *container, struct error *err)
{
	Hydra__V1__HealthCheck *check = container->health_check;
	auto_free char *path = text_format("%s/config.json", container->bundle);
	auto_free char *data = NULL;
	yyjson_doc *config;
	char *json;
	size_t size;
	int r;

	if (check == NULL || check->process_json.len > 0 || check->command[0] == '\0')
		return 0;
	r = file_read(AT_FDCWD, path, CONFIG_SIZE_MAX, &data, &size, err);
	if (r < 0)
		return r;
	config = yyjson_read(data, size, 0);
	json = process_with_command(config, check->command);
	yyjson_doc_free(config);
	if (json == NULL)
		return fail_because(err, EINVAL, "health check: '%s' has no process", path);
	check->process_json = (ProtobufCBinaryData){.data = (uint8_t *) json, .len = strlen(json)};
	return 0;
}
