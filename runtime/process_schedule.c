/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the processor and the disks are shared with this process.
 */
#include "runtime/process_schedule.h"

#include "runtime/number_set.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IO_CLASS_SHIFT 13
#define IO_WHO_PROCESS 1

struct named_value {
	const char *name;
	uint64_t value;
};

static const struct named_value io_classes[] = {
	{"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}, {NULL, 0},
};

static const struct named_value policies[] = {
	{"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},       {"SCHED_BATCH", 3},
	{"SCHED_ISO", 4},   {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6}, {NULL, 0},
};

static const struct named_value flags[] = {
	{"SCHED_FLAG_RESET_ON_FORK", 0x01}, {"SCHED_FLAG_RECLAIM", 0x02},
	{"SCHED_FLAG_DL_OVERRUN", 0x04},    {"SCHED_FLAG_KEEP_POLICY", 0x08},
	{"SCHED_FLAG_KEEP_PARAMS", 0x10},   {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
	{"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}, {NULL, 0},
};

/* struct sched_attr of the kernel's first version, which glibc only has since 2.41 */
struct schedule_attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

static const struct named_value *find(const struct named_value *table, const char *name)
{
	for (; table->name != NULL && name != NULL; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

static int check_io_priority(const struct spec_io_priority *wanted, struct error *err)
{
	if (find(io_classes, wanted->class) == NULL)
		return fail_because(err, EINVAL, "process.ioPriority.class: unknown class '%s'", wanted->class);
	if (wanted->priority.value < 0 || wanted->priority.value > 7)
		return fail_because(err, EINVAL, "process.ioPriority.priority: must be from 0 to 7");
	return 0;
}

static int check_scheduler(const struct spec_scheduler *wanted, struct error *err)
{
	if (find(policies, wanted->policy) == NULL)
		return fail_because(err, EINVAL, "process.scheduler.policy: unknown policy '%s'", wanted->policy);
	for (size_t i = 0; i < wanted->flags.count; i++)
		if (find(flags, wanted->flags.items[i]) == NULL)
			return fail_because(err, EINVAL, "process.scheduler.flags[%zu]: unknown flag '%s'", i,
					    wanted->flags.items[i]);
	if (wanted->nice.value < -20 || wanted->nice.value > 19)
		return fail_because(err, EINVAL, "process.scheduler.nice: must be from -20 to 19");
	if (wanted->priority.value < 0 || wanted->priority.value > 99)
		return fail_because(err, EINVAL, "process.scheduler.priority: must be from 0 to 99");
	return 0;
}

static int check_affinity(const char *list, const char *name, struct error *err)
{
	struct number_set ignored;

	if (list != NULL && list[0] != '\0' && number_set_parse(list, &ignored) < 0)
		return fail_because(err, EINVAL, "process.execCPUAffinity.%s: '%s' is not a list of processors", name, list);
	return 0;
}

int process_schedule_check(const struct spec_process *process, struct error *err)
{
	if (process->scheduler != NULL && check_scheduler(process->scheduler, err) < 0)
		return err->code;
	if (process->io_priority != NULL && check_io_priority(process->io_priority, err) < 0)
		return err->code;
	if (check_affinity(process->exec_affinity.initial, "initial", err) < 0)
		return err->code;
	return check_affinity(process->exec_affinity.final, "final", err);
}

static int set_io_priority(const struct spec_io_priority *wanted, struct error *err)
{
	const struct named_value *class = find(io_classes, wanted->class);

	if (syscall(SYS_ioprio_set, IO_WHO_PROCESS, 0, class->value << IO_CLASS_SHIFT | (uint64_t) wanted->priority.value) < 0)
		return fail_errno(err, errno, "process.ioPriority: set the I/O priority");
	return 0;
}

static int set_scheduler(const struct spec_scheduler *wanted, struct error *err)
{
	struct schedule_attributes attributes = {.size = sizeof(attributes),
						 .policy = (uint32_t) find(policies, wanted->policy)->value,
						 .nice = (int32_t) wanted->nice.value,
						 .priority = (uint32_t) wanted->priority.value,
						 .runtime = wanted->runtime.value,
						 .deadline = wanted->deadline.value,
						 .period = wanted->period.value};

	for (size_t i = 0; i < wanted->flags.count; i++)
		attributes.flags |= find(flags, wanted->flags.items[i])->value;
	if (syscall(SYS_sched_setattr, 0, &attributes, 0) < 0)
		return fail_errno(err, errno, "process.scheduler: set the scheduler%s",
				  errno == EPERM && wanted->deadline.value != 0 ? " (a deadline process scheduler can't be used together with "
										  "AllowedCPUs or linux.resources.cpu.cpus)" : "");
	return 0;
}

int process_schedule(const struct spec_process *process, struct error *err)
{
	if (process_schedule_check(process, err) < 0)
		return err->code;
	if (process->scheduler != NULL && set_scheduler(process->scheduler, err) < 0)
		return err->code;
	return process->io_priority != NULL ? set_io_priority(process->io_priority, err) : 0;
}

unsigned long long process_cpus(void)
{
	struct number_set set = {0};
	unsigned long long first = 0;

	(void) syscall(SYS_sched_getaffinity, 0, sizeof(set.words), set.words);
	memcpy(&first, set.words, sizeof(first));
	return first;
}

void process_unbind_from_cpus(void)
{
	struct number_set all;

	memset(&all, 0xff, sizeof(all));
	/* those that the cgroup does not have, the kernel leaves out */
	(void) syscall(SYS_sched_setaffinity, 0, sizeof(all.words), all.words);
}

int process_bind_to_cpus(const char *list, struct error *err)
{
	struct number_set set;

	if (list == NULL || list[0] == '\0')
		return 0;
	if (number_set_parse(list, &set) < 0)
		return fail_because(err, EINVAL, "process.execCPUAffinity: '%s' is not a list of processors", list);
	if (syscall(SYS_sched_setaffinity, 0, sizeof(set.words), set.words) < 0)
		return fail_errno(err, errno, "process.execCPUAffinity: run on the processors '%s'", list);
	return 0;
}
