/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.rlimits by prlimit(2).
 */
#include "runtime/rlimits.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

static const struct {
	const char *name;
	int number;
} limits[] = {
	{"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},
	{"RLIMIT_CPU", RLIMIT_CPU},         {"RLIMIT_DATA", RLIMIT_DATA},
	{"RLIMIT_FSIZE", RLIMIT_FSIZE},     {"RLIMIT_LOCKS", RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", RLIMIT_NICE},       {"RLIMIT_NOFILE", RLIMIT_NOFILE},
	{"RLIMIT_NPROC", RLIMIT_NPROC},     {"RLIMIT_RSS", RLIMIT_RSS},
	{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},
	{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING}, {"RLIMIT_STACK", RLIMIT_STACK},
};

static int limit_number(const char *name)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strcmp(limits[i].name, name) == 0)
			return limits[i].number;
	return -EINVAL;
}

int rlimits_check(const struct spec_process *process, struct error *err)
{
	unsigned int seen = 0;

	for (size_t i = 0; i < process->rlimits.count; i++) {
		const struct spec_rlimit *limit = &process->rlimits.items[i];
		int number = limit->type != NULL ? limit_number(limit->type) : -EINVAL;

		if (number < 0)
			return fail_because(err, EINVAL, "process.rlimits[%zu].type: unknown limit '%s'", i,
					    limit->type != NULL ? limit->type : "");
		if ((seen & 1U << number) != 0)
			return fail_because(err, EINVAL, "process.rlimits[%zu].type: '%s' is there twice", i, limit->type);
		if (limit->soft.value > limit->hard.value)
			return fail_because(err, EINVAL, "process.rlimits[%zu].soft: above the hard limit", i);
		seen |= 1U << number;
	}
	return 0;
}

int rlimits_apply(const struct spec_process *process, pid_t pid, struct error *err)
{
	for (size_t i = 0; i < process->rlimits.count; i++) {
		const struct spec_rlimit *limit = &process->rlimits.items[i];
		const struct rlimit value = {.rlim_cur = limit->soft.value, .rlim_max = limit->hard.value};

		if (prlimit(pid, (enum __rlimit_resource) limit_number(limit->type), &value, NULL) < 0)
			return fail_errno(err, errno, "set %s", limit->type);
	}
	return 0;
}
