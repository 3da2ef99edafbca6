/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and reading a container's state.
 */
#include "runtime/container_json.h"

#include "runtime/json.h"

#include <stddef.h>

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

static void add_text(struct json_writer *json, const char *key, const char *text)
{
	json_writer_member_string(json, key, text != NULL ? text : "");
}

static void add_pid(struct json_writer *json, int64_t pid)
{
	json_writer_key(json, "pid");
	json_writer_int(json, pid);
}

static void add_annotations(struct json_writer *json, const struct json_map *annotations)
{
	json_writer_key(json, "annotations");
	json_writer_open(json, '{');
	for (size_t i = 0; i < annotations->count; i++)
		json_writer_member_string(json, annotations->items[i].key, annotations->items[i].value);
	json_writer_close(json, '}');
}

char *container_state_file(const struct container_state *state)
{
	struct json_writer json = {0};

	json_writer_open(&json, '{');
	json_writer_member_uint(&json, "formatVersion", 1);
	add_text(&json, "ociVersion", state->oci_version);
	add_text(&json, "id", state->id);
	add_pid(&json, state->pid.value);
	json_writer_member_uint(&json, "startTime", state->start_time.value);
	add_text(&json, "bundle", state->bundle);
	add_text(&json, "rootfs", state->rootfs);
	add_text(&json, "created", state->created);
	add_text(&json, "cgroupPath", state->cgroup_path);
	json_writer_member_uint(&json, "owner", state->owner.value);
	add_annotations(&json, &state->annotations);
	json_writer_close(&json, '}');
	return json_writer_finish(&json);
}

char *container_state_json(const struct container_state *state, enum container_status status, bool is_pretty)
{
	struct json_writer json = {.is_pretty = is_pretty};

	json_writer_open(&json, '{');
	add_text(&json, "ociVersion", state->oci_version);
	add_text(&json, "id", state->id);
	add_pid(&json, status == CONTAINER_STOPPED ? 0 : state->pid.value);
	add_text(&json, "status", container_status_name(status));
	add_text(&json, "bundle", state->bundle);
	add_text(&json, "rootfs", state->rootfs);
	add_text(&json, "created", state->created);
	if (state->annotations.count > 0)
		add_annotations(&json, &state->annotations);
	add_text(&json, "owner", state->owner.value == 0 ? "root" : "");
	json_writer_close(&json, '}');
	return json_writer_finish(&json);
}
