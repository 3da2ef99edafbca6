/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names are checked here, before anything is made, so that the message can say which field was wrong.
 */
#include "runtime/systemd_unit.h"

#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define FIELD        "linux.cgroupsPath"
#define SLICE        ".slice"
#define SCOPE_PREFIX "hydra"

static bool is_unit_character(char c)
{
	return isascii(c) && (isalnum((unsigned char) c) || (c != '\0' && strchr(":-_.\\@", c) != NULL));
}

static int check_name(const char *name, struct error *err)
{
	for (const char *at = name; *at != '\0'; at++)
		if (!is_unit_character(*at))
			return fail_because(err, EINVAL, FIELD ": '%s' cannot be the name of a systemd unit", name);
	return 0;
}

/* "a-b.slice": no part may be empty. "-.slice" is the root of all. */
static int check_slice(const char *slice, struct error *err)
{
	size_t size = strlen(slice) - strlen(SLICE);

	if (check_name(slice, err) < 0)
		return err->code;
	if (strcmp(slice, "-" SLICE) == 0)
		return 0;
	if (size == 0 || slice[0] == '-' || slice[size - 1] == '-' || strstr(slice, "--") != NULL)
		return fail_because(err, EINVAL, FIELD ": '%s' is not the name of a slice: each part between dashes needs a name", slice);
	return 0;
}

static int set_slice(char *target, const char *name, size_t name_size, struct error *err)
{
	if (!text_fit(target, SYSTEMD_UNIT_SIZE, "%.*s", (int) name_size, name))
		return fail_because(err, ENAMETOOLONG, FIELD ": a unit's name has at most %d bytes", SYSTEMD_UNIT_SIZE - 1);
	if (!text_has_suffix(target, SLICE))
		return fail_because(err, EINVAL, FIELD ": '%s' is not the name of a slice: it does not end in '" SLICE "'", target);
	return check_slice(target, err);
}

/* As systemd-escape(1) does it: what a container may be called but a unit may not. */
static bool escape(const char *id, char *buffer, size_t size)
{
	size_t used = 0;

	for (; *id != '\0' && used + 5 < size; id++)
		used += (size_t) snprintf(buffer + used, size - used, is_unit_character(*id) ? "%c" : "\\x%02x", (unsigned char) *id);
	buffer[used] = '\0';
	return *id == '\0';
}

static int set_scope(struct systemd_unit *self, const char *prefix, size_t prefix_size, const char *name, struct error *err)
{
	char escaped[SYSTEMD_UNIT_SIZE];

	if (!escape(name, escaped, sizeof(escaped)) ||
	    !text_fit(self->name, sizeof(self->name), "%.*s%s%s.scope", (int) prefix_size, prefix, prefix_size > 0 ? "-" : "", escaped))
		return fail_because(err, ENAMETOOLONG, FIELD ": a unit's name has at most %d bytes", SYSTEMD_UNIT_SIZE - 1);
	return check_name(self->name, err);
}

int systemd_unit_init(struct systemd_unit *self, const char *cgroups_path, const char *id, bool is_user, struct error *err)
{
	const char *slice = is_user ? "user" SLICE : "system" SLICE;
	const char *wanted = cgroups_path != NULL && cgroups_path[0] != '\0' ? cgroups_path : NULL;
	const char *prefix = wanted != NULL ? strchr(wanted, ':') : NULL;
	const char *name = prefix != NULL ? strchr(prefix + 1, ':') : NULL;

	*self = (struct systemd_unit){.name = ""};
	if (wanted == NULL)
		return set_slice(self->slice, slice, strlen(slice), err) < 0
			       ? err->code
			       : set_scope(self, SCOPE_PREFIX, strlen(SCOPE_PREFIX), id, err);
	if (name == NULL || name[1] == '\0' || strchr(name + 1, ':') != NULL)
		return fail_because(err, EINVAL, FIELD ": '%s' is not of the form slice:prefix:name that the systemd cgroup manager needs",
				    wanted);
	if (text_has_suffix(name + 1, SLICE)) {
		self->is_slice = true;
		return set_slice(self->name, name + 1, strlen(name + 1), err);
	}
	if (set_slice(self->slice, prefix > wanted ? wanted : slice, prefix > wanted ? (size_t) (prefix - wanted) : strlen(slice), err) < 0)
		return err->code;
	return set_scope(self, prefix + 1, (size_t) (name - prefix - 1), name + 1, err);
}

/* "a-b.slice" is in "a.slice". */
static bool add_slices(const char *slice, char *path, size_t size)
{
	size_t used = 0;

	path[0] = '\0';
	if (slice[0] == '-')
		return true;
	for (const char *dash = strchr(slice, '-'); dash != NULL; dash = strchr(dash + 1, '-')) {
		if (!text_fit(path + used, size - used, "/%.*s" SLICE, (int) (dash - slice), slice))
			return false;
		used += strlen(path + used);
	}
	return text_fit(path + used, size - used, "/%s", slice);
}

int systemd_unit_path(const struct systemd_unit *self, char ret_path[static CGROUP_PATH_SIZE], struct error *err)
{
	char slices[CGROUP_PATH_SIZE];

	if (!add_slices(self->is_slice ? self->name : self->slice, slices, sizeof(slices)) ||
	    !text_fit(ret_path, CGROUP_PATH_SIZE, "%s%s%s", slices, self->is_slice ? "" : "/", self->is_slice ? "" : self->name))
		return fail_because(err, ENAMETOOLONG, FIELD ": the path of the cgroup would be longer than %d bytes", CGROUP_PATH_SIZE - 1);
	if (ret_path[0] == '\0')
		return fail_because(err, EINVAL, FIELD ": '%s' is the root cgroup", self->name);
	return 0;
}
