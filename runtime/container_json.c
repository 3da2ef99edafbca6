/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and reading a container's state.
 */
#include "runtime/container_json.h"

#include <stddef.h>
#include <stdlib.h>

#define STATE_MEMBER(member) offsetof(struct container_state, member)

const struct field container_state_fields[] = {
	{"ociVersion", FIELD_STRING, STATE_MEMBER(oci_version)},
	{"id", FIELD_STRING, STATE_MEMBER(id)},
	{"pid", FIELD_INT, STATE_MEMBER(pid)},
	{"startTime", FIELD_UINT, STATE_MEMBER(start_time)},
	{"bundle", FIELD_STRING, STATE_MEMBER(bundle)},
	{"rootfs", FIELD_STRING, STATE_MEMBER(rootfs)},
	{"created", FIELD_STRING, STATE_MEMBER(created)},
	{"cgroupPath", FIELD_STRING, STATE_MEMBER(cgroup_path)},
	{"owner", FIELD_UINT, STATE_MEMBER(owner)},
	{"annotations", FIELD_MAP, STATE_MEMBER(annotations)},
	{NULL},
};

static const char *const status_names[] = {"creating", "created", "running", "paused", "stopped"};

const char *container_status_name(enum container_status status)
{
	return status_names[status];
}

static void add_text(yyjson_mut_doc *document, yyjson_mut_val *object, const char *key, const char *text)
{
	yyjson_mut_obj_add_str(document, object, key, text != NULL ? text : "");
}

static void add_annotations(yyjson_mut_doc *document, yyjson_mut_val *object, const struct json_map *annotations)
{
	yyjson_mut_val *map = yyjson_mut_obj_add_obj(document, object, "annotations");

	for (size_t i = 0; i < annotations->count; i++)
		yyjson_mut_obj_add_str(document, map, annotations->items[i].key, annotations->items[i].value);
}

static char *write_document(yyjson_mut_doc *document, bool is_pretty)
{
	char *text = yyjson_mut_write(document, is_pretty ? YYJSON_WRITE_PRETTY_TWO_SPACES : YYJSON_WRITE_NOFLAG, NULL);

	yyjson_mut_doc_free(document);
	if (text == NULL)
		abort();
	return text;
}

char *container_state_file(const struct container_state *state)
{
	yyjson_mut_doc *document = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *object = yyjson_mut_obj(document);

	yyjson_mut_doc_set_root(document, object);
	yyjson_mut_obj_add_int(document, object, "formatVersion", 1);
	add_text(document, object, "ociVersion", state->oci_version);
	add_text(document, object, "id", state->id);
	yyjson_mut_obj_add_sint(document, object, "pid", state->pid.value);
	yyjson_mut_obj_add_uint(document, object, "startTime", state->start_time.value);
	add_text(document, object, "bundle", state->bundle);
	add_text(document, object, "rootfs", state->rootfs);
	add_text(document, object, "created", state->created);
	add_text(document, object, "cgroupPath", state->cgroup_path);
	yyjson_mut_obj_add_uint(document, object, "owner", state->owner.value);
	add_annotations(document, object, &state->annotations);
	return write_document(document, false);
}

char *container_state_json(const struct container_state *state, enum container_status status, bool is_pretty)
{
	yyjson_mut_doc *document = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *object = yyjson_mut_obj(document);

	yyjson_mut_doc_set_root(document, object);
	add_text(document, object, "ociVersion", state->oci_version);
	add_text(document, object, "id", state->id);
	yyjson_mut_obj_add_sint(document, object, "pid", status == CONTAINER_STOPPED ? 0 : state->pid.value);
	add_text(document, object, "status", container_status_name(status));
	add_text(document, object, "bundle", state->bundle);
	add_text(document, object, "rootfs", state->rootfs);
	add_text(document, object, "created", state->created);
	if (state->annotations.count > 0)
		add_annotations(document, object, &state->annotations);
	add_text(document, object, "owner", state->owner.value == 0 ? "root" : "");
	return write_document(document, is_pretty);
}
