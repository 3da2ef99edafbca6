/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and reading a container's state.
 */
#include "runtime/container_json.h"

#include "base/text.h"
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
	{"systemdUnit", FIELD_STRING, STATE_MEMBER(systemd_unit)},
	{"resctrlGroup", FIELD_STRING, STATE_MEMBER(resctrl_group)},
	{"resctrlFolder", FIELD_STRING, STATE_MEMBER(resctrl_folder)},
	{"owner", FIELD_UINT, STATE_MEMBER(owner)},
	{"lateHooks", FIELD_UINT, STATE_MEMBER(has_late_hooks)},
	{"ownPids", FIELD_UINT, STATE_MEMBER(has_own_pids)},
	{"annotations", FIELD_MAP, STATE_MEMBER(annotations)},
	{NULL},
};

static const char *const status_names[] = {"creating", "created", "running", "paused", "stopped"};

const char *container_status_name(enum container_status status)
{
	return status_names[status];
}

static void add_text(struct json_object *to, const char *key, const char *text)
{
	json_add_string(to, key, text != NULL ? text : "");
}

static void add_unless_empty(struct json_object *to, const char *key, const char *text)
{
	if (text != NULL && text[0] != '\0')
		json_add_string(to, key, text);
}

static void add_annotations(struct json_object *to, const struct json_map *annotations)
{
	struct json_object *object = json_add_object(to, "annotations");

	for (size_t i = 0; i < annotations->count; i++)
		json_add_string(object, annotations->items[i].key, annotations->items[i].value);
}

static void add_known(struct json_object *to, const char *key, const struct json_uint *number)
{
	if (number->is_set)
		json_add_uint(to, key, number->value);
}

char *container_state_file(const struct container_state *state)
{
	auto_json *json = json_object_new_object();

	json_add_uint(json, "formatVersion", 1);
	add_text(json, "ociVersion", state->oci_version);
	add_text(json, "id", state->id);
	json_add_int(json, "pid", state->pid.value);
	json_add_uint(json, "startTime", state->start_time.value);
	add_text(json, "bundle", state->bundle);
	add_text(json, "rootfs", state->rootfs);
	add_text(json, "created", state->created);
	add_text(json, "cgroupPath", state->cgroup_path);
	add_unless_empty(json, "systemdUnit", state->systemd_unit);
	add_unless_empty(json, "resctrlGroup", state->resctrl_group);
	add_unless_empty(json, "resctrlFolder", state->resctrl_folder);
	json_add_uint(json, "owner", state->owner.value);
	add_known(json, "lateHooks", &state->has_late_hooks);
	add_known(json, "ownPids", &state->has_own_pids);
	add_annotations(json, &state->annotations);
	return json_text(json, false);
}

void container_state_add(struct json_object *to, const struct container_state *state, enum container_status status)
{
	char owner[24];

	add_text(to, "ociVersion", state->oci_version);
	add_text(to, "id", state->id);
	json_add_int(to, "pid", status == CONTAINER_STOPPED ? 0 : state->pid.value);
	add_text(to, "status", container_status_name(status));
	add_text(to, "bundle", state->bundle);
	add_text(to, "rootfs", state->rootfs);
	add_text(to, "created", state->created);
	if (state->annotations.count > 0)
		add_annotations(to, &state->annotations);
	(void) text_fit(owner, sizeof(owner), "#%llu", (unsigned long long) state->owner.value);
	add_text(to, "owner", state->owner.value == 0 ? "root" : owner);
}

char *container_state_json(const struct container_state *state, enum container_status status, bool is_pretty)
{
	auto_json *json = json_object_new_object();

	container_state_add(json, state, status);
	return json_text(json, is_pretty);
}
