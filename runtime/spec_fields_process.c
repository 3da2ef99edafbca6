/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables of config.json's "process": the whole grammar is here, the decoder is json_fields.c.
 */
#include "runtime/spec.h"

#include <stddef.h>

static const struct field rlimit_fields[] = {
	{"type", FIELD_STRING, offsetof(struct spec_rlimit, type), .is_required = true},
	{"soft", FIELD_UINT, offsetof(struct spec_rlimit, soft), .is_required = true},
	{"hard", FIELD_UINT, offsetof(struct spec_rlimit, hard), .is_required = true},
	{NULL},
};

static const struct field user_fields[] = {
	{"uid", FIELD_ID, offsetof(struct spec_user, uid)},
	{"gid", FIELD_ID, offsetof(struct spec_user, gid)},
	{"umask", FIELD_UINT, offsetof(struct spec_user, umask)},
	{"additionalGids", FIELD_IDS, offsetof(struct spec_user, additional_gids)},
	{NULL},
};

static const struct field capabilities_fields[] = {
	{"bounding", FIELD_STRINGS, offsetof(struct spec_capabilities, bounding)},
	{"effective", FIELD_STRINGS, offsetof(struct spec_capabilities, effective)},
	{"inheritable", FIELD_STRINGS, offsetof(struct spec_capabilities, inheritable)},
	{"permitted", FIELD_STRINGS, offsetof(struct spec_capabilities, permitted)},
	{"ambient", FIELD_STRINGS, offsetof(struct spec_capabilities, ambient)},
	{NULL},
};

static const struct field console_size_fields[] = {
	{"height", FIELD_UINT, offsetof(struct spec_console_size, height), .is_required = true},
	{"width", FIELD_UINT, offsetof(struct spec_console_size, width), .is_required = true},
	{NULL},
};

static const struct field io_priority_fields[] = {
	{"class", FIELD_STRING, offsetof(struct spec_io_priority, class), .is_required = true},
	{"priority", FIELD_INT, offsetof(struct spec_io_priority, priority)},
	{NULL},
};

static const struct field scheduler_fields[] = {
	{"policy", FIELD_STRING, offsetof(struct spec_scheduler, policy), .is_required = true},
	{"nice", FIELD_INT, offsetof(struct spec_scheduler, nice)},
	{"priority", FIELD_INT, offsetof(struct spec_scheduler, priority)},
	{"flags", FIELD_STRINGS, offsetof(struct spec_scheduler, flags)},
	{"runtime", FIELD_UINT, offsetof(struct spec_scheduler, runtime)},
	{"deadline", FIELD_UINT, offsetof(struct spec_scheduler, deadline)},
	{"period", FIELD_UINT, offsetof(struct spec_scheduler, period)},
	{NULL},
};

static const struct field affinity_fields[] = {
	{"initial", FIELD_STRING, offsetof(struct spec_affinity, initial)},
	{"final", FIELD_STRING, offsetof(struct spec_affinity, final)},
	{NULL},
};

const struct field spec_process_fields[] = {
	{"terminal", FIELD_BOOL, offsetof(struct spec_process, terminal)},
	{"noNewPrivileges", FIELD_BOOL, offsetof(struct spec_process, no_new_privileges)},
	{"consoleSize", FIELD_OPTIONAL, offsetof(struct spec_process, console_size), console_size_fields, sizeof(struct spec_console_size)},
	{"user", FIELD_OBJECT, offsetof(struct spec_process, user), user_fields},
	{"args", FIELD_STRINGS, offsetof(struct spec_process, args)},
	{"env", FIELD_STRINGS, offsetof(struct spec_process, env)},
	{"cwd", FIELD_STRING, offsetof(struct spec_process, cwd)},
	{"capabilities", FIELD_OPTIONAL, offsetof(struct spec_process, capabilities), capabilities_fields, sizeof(struct spec_capabilities)},
	{"rlimits", FIELD_OBJECTS, offsetof(struct spec_process, rlimits), rlimit_fields, sizeof(struct spec_rlimit)},
	{"apparmorProfile", FIELD_STRING, offsetof(struct spec_process, apparmor_profile)},
	{"selinuxLabel", FIELD_STRING, offsetof(struct spec_process, selinux_label)},
	{"oomScoreAdj", FIELD_INT, offsetof(struct spec_process, oom_score_adjust)},
	{"ioPriority", FIELD_OPTIONAL, offsetof(struct spec_process, io_priority), io_priority_fields, sizeof(struct spec_io_priority)},
	{"scheduler", FIELD_OPTIONAL, offsetof(struct spec_process, scheduler), scheduler_fields, sizeof(struct spec_scheduler)},
	{"execCPUAffinity", FIELD_OBJECT, offsetof(struct spec_process, exec_affinity), affinity_fields},
	{NULL},
};
