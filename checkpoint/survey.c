/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#define MAPS_MAX (64U << 20)

struct verdict {
	const char *prefix;
	const char *reason; /* NULL: fine */
};

/* The first prefix that fits decides. */
static const struct verdict verdicts[] = {
	{"anon_inode:[eventpoll]", NULL},
	{"anon_inode:[eventfd]", NULL},
	{"anon_inode:[signalfd]", NULL},
	{"anon_inode:[timerfd]", NULL},
	{"anon_inode:[fanotify]", NULL},
	{"anon_inode:inotify", NULL},
	{"anon_inode:[pidfd]", NULL},
	{"anon_inode:[io_uring]", "an io_uring"},
	{"anon_inode:[userfaultfd]", "a userfaultfd"},
	{"anon_inode:[perf_event]", "a performance counter"},
	{"anon_inode:bpf-", "an eBPF object"},
	{"anon_inode:kvm-", "a KVM machine"},
	{"anon_inode:", "an object CRIU does not know"},
	{"net:[", NULL},
	{NULL, NULL},
};

struct device {
	unsigned int major, minor_from, minor_to;
};

static const struct device saved_devices[] = {
	{1, 1, 11},     /* mem, null, zero, full, random, urandom, kmsg */
	{5, 0, 2},      /* tty, console, ptmx */
	{4, 0, 255},    /* virtual terminals */
	{136, 0, 1 << 20}, {137, 0, 1 << 20}, {10, 200, 200}, /* pts, tun */
};

const char *survey_link(const char *link)
{
	for (size_t i = 0; verdicts[i].prefix != NULL; i++) {
		if (text_has_prefix(link, verdicts[i].prefix))
			return verdicts[i].reason;
	}
	return NULL;
}

static const char *survey_device(const struct stat *status)
{
	if (S_ISBLK(status->st_mode))
		return "a block device";
	if (!S_ISCHR(status->st_mode))
		return NULL;
	for (size_t i = 0; i < sizeof(saved_devices) / sizeof(saved_devices[0]); i++) {
		const struct device *known = &saved_devices[i];

		if (major(status->st_rdev) == known->major && minor(status->st_rdev) >= known->minor_from &&
		    minor(status->st_rdev) <= known->minor_to)
			return NULL;
	}
	return "a device";
}

static int survey_descriptor(pid_t pid, int folder_fd, const char *number, struct error *err)
{
	const char *reason;
	struct stat status;
	char link[512], name[64];
	ssize_t size = readlinkat(folder_fd, number, link, sizeof(link) - 1);

	if (size < 0)
		return 0;
	link[size] = '\0';
	reason = survey_link(link);
	if (reason == NULL && fstatat(folder_fd, number, &status, 0) == 0)
		reason = survey_device(&status);
	if (reason == NULL)
		return 0;
	proc_name(pid, name, sizeof(name));
	return fail_because(err, EOPNOTSUPP, "process %d (%s) has open %s (%.200s, descriptor %s), which cannot be saved",
			    (int) pid, name, reason, link, number);
}

static int survey_maps(pid_t pid, struct error *err)
{
	auto_free char *path = text_format("/proc/%d/maps", (int) pid);
	auto_free char *maps = NULL;
	struct error ignored;
	char name[64];

	if (file_read(AT_FDCWD, path, MAPS_MAX, &maps, NULL, &ignored) < 0)
		return 0;
	proc_name(pid, name, sizeof(name));
	if (strstr(maps, "anon_inode:[io_uring]") != NULL)
		return fail_because(err, EOPNOTSUPP, "process %d (%s) uses an io_uring, which cannot be saved", (int) pid,
				    name);
	return 0;
}

int survey_tasks(const struct proc_tasks *tasks, struct error *err)
{
	const struct proc_task *init = &tasks->items[0];
	int r = init->virtual_pid == 1 ? proc_refuse_strangers(init->pid, err) : 0;

	for (size_t i = 0; i < tasks->count && r == 0; i++) {
		auto_free char *path = text_format("/proc/%d/fd", (int) tasks->items[i].pid);
		DIR *folder = opendir(path);
		struct dirent *entry;

		while (folder != NULL && r == 0 && (entry = readdir(folder)) != NULL)
			r = survey_descriptor(tasks->items[i].pid, dirfd(folder), entry->d_name, err);
		if (folder != NULL)
			(void) closedir(folder);
		if (r == 0)
			r = survey_maps(tasks->items[i].pid, err);
	}
	return r;
}
