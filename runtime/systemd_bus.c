/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/systemd_bus.h"

#include "base/owned.h"
#include "base/text.h"
#include "runtime/systemd_message.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define SYSTEMD  "org.freedesktop.systemd1"
#define MANAGER  "/org/freedesktop/systemd1", SYSTEMD ".Manager"
#define NO_UNIT  SYSTEMD ".NoSuchUnit"
#define HAS_UNIT SYSTEMD ".UnitExists"

#define auto_message __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message
#define auto_problem __attribute__((cleanup(sd_bus_error_free))) sd_bus_error
#define auto_slot    __attribute__((cleanup(sd_bus_slot_unrefp))) sd_bus_slot

struct job {
	char *path; /* what we wait for; NULL until systemd has told */
	bool has_ended;
	char result[32];
};

/* Where it is when a login did not say so. */
static void set_runtime_dir(void)
{
	auto_free char *folder = text_format("/run/user/%u", (unsigned int) geteuid());

	(void) setenv("XDG_RUNTIME_DIR", folder, 0);
}

/* systemd's own socket speaks the same without a bus between; it is there before the bus is, and where there is none. */
static int open_private(bool is_user, sd_bus **ret_bus)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	auto_free char *address = text_format("unix:path=%s/systemd/private", is_user && runtime_dir != NULL ? runtime_dir : "/run");
	sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		sd_bus_unref(bus);
	else
		*ret_bus = bus;
	return r;
}

int systemd_bus_open(bool is_user, struct sd_bus **ret_bus, struct error *err)
{
	bool is_told = getenv(is_user ? "DBUS_SESSION_BUS_ADDRESS" : "DBUS_SYSTEM_BUS_ADDRESS") != NULL;
	int r;

	set_runtime_dir();
	r = is_user ? sd_bus_open_user(ret_bus) : sd_bus_open_system(ret_bus);

	if (r < 0 && !is_told)
		r = open_private(is_user, ret_bus);
	return r < 0 ? fail_errno(err, -r, "connect to the bus of systemd") : 0;
}

void systemd_bus_close(struct sd_bus *bus)
{
	sd_bus_flush_close_unref(bus);
}

static int refused(const sd_bus_error *problem, int r, const char *what, const char *unit, struct error *err)
{
	return fail_because(err, -r, "%s unit '%s': systemd: %s", what, unit, problem->message != NULL ? problem->message : strerror(-r));
}

static int fail_call(int r, const char *what, const char *unit, struct error *err)
{
	return fail_errno(err, -r, "%s unit '%s': speak to systemd", what, unit);
}

static int on_job_removed(sd_bus_message *message, void *data, sd_bus_error *problem)
{
	struct job *job = data;
	const char *path, *unit, *result;
	uint32_t id;

	(void) problem;
	if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0 || job->path == NULL || strcmp(path, job->path) != 0)
		return 0;
	job->has_ended = true;
	(void) text_fit(job->result, sizeof(job->result), "%s", result);
	return 0;
}

/* Before the job is asked for, so that its end cannot be missed. */
static int watch_jobs(sd_bus *bus, struct job *job, sd_bus_slot **ret_slot)
{
	int r = sd_bus_match_signal_async(bus, ret_slot, NULL, MANAGER, "JobRemoved", on_job_removed, NULL, job);

	if (r >= 0)
		r = sd_bus_call_method_async(bus, NULL, SYSTEMD, MANAGER, "Subscribe", NULL, NULL, NULL);
	return r;
}

/* reply names the job. */
static int await_job(sd_bus *bus, struct job *job, sd_bus_message *reply, const char *what, const char *unit, struct error *err)
{
	const char *path;
	int r = sd_bus_message_read(reply, "o", &path);

	job->path = r >= 0 ? text_copy(path) : NULL;
	while (r >= 0 && !job->has_ended) {
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
	}
	free(take_ptr(&job->path));
	if (r < 0)
		return fail_call(r, what, unit, err);
	if (strcmp(job->result, "done") != 0)
		return fail_because(err, EIO, "%s unit '%s': systemd's job ended with '%s'", what, unit, job->result);
	return 0;
}

static int unit_path(const char *unit, char **ret_path, struct error *err)
{
	int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, ret_path);

	return r < 0 ? fail_errno(err, -r, "name unit '%s'", unit) : 0;
}

static bool is_slice(const char *unit)
{
	return text_has_suffix(unit, ".slice");
}

static void forget_failure(sd_bus *bus, const char *unit)
{
	(void) sd_bus_call_method(bus, SYSTEMD, MANAGER, "ResetFailedUnit", NULL, NULL, "s", unit);
}

/* A property of its own after all others: the process. */
static int append_all(sd_bus_message *message, const char *const *properties, pid_t pid, struct error *err)
{
	size_t count = 0;
	char number[16];
	const char **words;
	int r;

	while (properties[count] != NULL)
		count++;
	(void) text_fit(number, sizeof(number), "%d", pid);
	words = calloc(count + 5, sizeof(*words));
	if (words == NULL)
		return fail_errno(err, ENOMEM, "describe the unit");
	if (count > 0)
		memcpy(words, properties, count * sizeof(*words));
	if (pid > 0) {
		const char *const process[] = {"PIDs", "au", "1", number};

		memcpy(words + count, process, sizeof(process));
	}
	r = message_append_properties(message, words, err);
	free(words);
	return r;
}

static int call_start(sd_bus *bus, const char *unit, pid_t pid, const char *const *properties, sd_bus_message **ret_reply,
		      struct error *err)
{
	auto_message *message = NULL;
	auto_problem problem = SD_BUS_ERROR_NULL;
	int r = sd_bus_message_new_method_call(bus, &message, SYSTEMD, MANAGER, "StartTransientUnit");

	if (r >= 0)
		r = sd_bus_message_append(message, "ss", unit, "replace");
	if (r < 0)
		return fail_call(r, "start", unit, err);
	if (append_all(message, properties, is_slice(unit) ? 0 : pid, err) < 0)
		return fail_while(err, "start unit '%s'", unit);
	r = sd_bus_message_append(message, "a(sa(sv))", 0);
	if (r < 0)
		return fail_call(r, "start", unit, err);
	r = sd_bus_call(bus, message, 0, &problem, ret_reply);
	if (sd_bus_error_has_name(&problem, HAS_UNIT))
		return fail_because(err, EEXIST, "start unit '%s': systemd has a unit of this name", unit);
	return r < 0 ? refused(&problem, r, "start", unit, err) : 0;
}

int systemd_bus_start(struct sd_bus *bus, const char *unit, pid_t pid, const char *const *properties, struct error *err)
{
	auto_message *reply = NULL;
	auto_slot *slot = NULL;
	struct job job = {.path = NULL};
	int r = watch_jobs(bus, &job, &slot);

	if (r < 0)
		return fail_call(r, "start", unit, err);
	r = call_start(bus, unit, pid, properties, &reply, err);
	if (r == -EEXIST && is_slice(unit)) {
		*err = ERROR_NONE;
		return 0;
	}
	if (r == -EEXIST) {
		*err = ERROR_NONE;
		forget_failure(bus, unit);
		r = call_start(bus, unit, pid, properties, &reply, err);
	}
	return r < 0 ? r : await_job(bus, &job, reply, "start", unit, err);
}

int systemd_bus_cgroup(struct sd_bus *bus, const char *unit, char **ret_path, struct error *err)
{
	auto_problem problem = SD_BUS_ERROR_NULL;
	auto_free char *path = NULL;
	int r;

	if (unit_path(unit, &path, err) < 0)
		return err->code;
	r = sd_bus_get_property_string(bus, SYSTEMD, path, is_slice(unit) ? SYSTEMD ".Slice" : SYSTEMD ".Scope", "ControlGroup", &problem,
				       ret_path);
	return r < 0 ? refused(&problem, r, "look at", unit, err) : 0;
}

int systemd_bus_set(struct sd_bus *bus, const char *unit, const char *const *properties, struct error *err)
{
	auto_message *message = NULL;
	auto_problem problem = SD_BUS_ERROR_NULL;
	auto_free char *cgroup = NULL;
	int r = sd_bus_message_new_method_call(bus, &message, SYSTEMD, MANAGER, "SetUnitProperties");

	if (r >= 0)
		r = sd_bus_message_append(message, "sb", unit, 1);
	if (r < 0)
		return fail_call(r, "change", unit, err);
	if (message_append_properties(message, properties, err) < 0)
		return fail_while(err, "change unit '%s'", unit);
	r = sd_bus_call(bus, message, 0, &problem, NULL);
	if (r < 0)
		return refused(&problem, r, "change", unit, err);
	/* systemd writes to the cgroup after it has answered; what it answers next, it answers when that is done */
	return systemd_bus_cgroup(bus, unit, &cgroup, err);
}

int systemd_bus_attach(struct sd_bus *bus, const char *unit, pid_t pid, struct error *err)
{
	auto_problem problem = SD_BUS_ERROR_NULL;
	int r = sd_bus_call_method(bus, SYSTEMD, MANAGER, "AttachProcessesToUnit", &problem, NULL, "ssau", unit, "", 1, (uint32_t) pid);

	return r < 0 ? refused(&problem, r, "join", unit, err) : 0;
}

static int is_ours(sd_bus *bus, const char *unit, const char *mark, bool *ret_is_ours, struct error *err)
{
	auto_problem problem = SD_BUS_ERROR_NULL;
	auto_free char *path = NULL;
	char **found = NULL;
	int r;

	if (unit_path(unit, &path, err) < 0)
		return err->code;
	r = sd_bus_get_property_strv(bus, SYSTEMD, path, SYSTEMD ".Unit", "Documentation", &problem, &found);
	if (r < 0 && !sd_bus_error_has_name(&problem, NO_UNIT))
		return refused(&problem, r, "look at", unit, err);
	*ret_is_ours = false;
	for (size_t i = 0; found != NULL && found[i] != NULL; i++) {
		*ret_is_ours = *ret_is_ours || strcmp(found[i], mark) == 0;
		free(found[i]);
	}
	free(found);
	return 0;
}

int systemd_bus_stop(struct sd_bus *bus, const char *unit, const char *mark, struct error *err)
{
	auto_message *reply = NULL;
	auto_slot *slot = NULL;
	auto_problem problem = SD_BUS_ERROR_NULL;
	struct job job = {.path = NULL};
	bool has_unit = false;
	int r;

	if (is_ours(bus, unit, mark, &has_unit, err) < 0)
		return err->code;
	if (!has_unit)
		return 0;
	r = watch_jobs(bus, &job, &slot);
	if (r < 0)
		return fail_call(r, "stop", unit, err);
	r = sd_bus_call_method(bus, SYSTEMD, MANAGER, "StopUnit", &problem, &reply, "ss", unit, "replace");
	if (r < 0)
		return sd_bus_error_has_name(&problem, NO_UNIT) ? 0 : refused(&problem, r, "stop", unit, err);
	r = await_job(bus, &job, reply, "stop", unit, err);
	/* how it ended is nobody's concern any more */
	forget_failure(bus, unit);
	return r;
}
