/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/number.h"
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

/* A file that was opened outside is of a mount that the container does not have; CRIU could not find it. Memory files and pipes have
 * mounts of the kernel's own. */
static bool is_from_outside(const struct survey *self, pid_t pid, const char *number, const char *link)
{
	auto_free char *path = text_format("/proc/%d/fdinfo/%s", (int) pid, number);
	auto_free char *text = NULL;
	struct error ignored;
	const char *line;
	int id;

	if (link[0] != '/' || text_has_prefix(link, "/memfd:") || file_read(AT_FDCWD, path, 65536, &text, NULL, &ignored) < 0)
		return false;
	line = strstr(text, "mnt_id:");
	if (line == NULL || self->mounts.count == 0)
		return false;
	id = (int) strtol(line + strlen("mnt_id:"), NULL, 10);
	for (size_t i = 0; i < self->mounts.count; i++) {
		if (self->mounts.items[i].id == id)
			return false;
	}
	return true;
}

static void survey_descriptor(struct survey *self, pid_t pid, int folder_fd, const char *number)
{
	const char *reason;
	struct stat status;
	char link[512], name[64];
	ssize_t size = readlinkat(folder_fd, number, link, sizeof(link) - 1);
	auto_free char *object = NULL;
	int descriptor;

	if (size < 0)
		return;
	link[size] = '\0';
	if (text_has_prefix(link, "socket:[") && number_parse_int(number, 0, 1 << 30, &descriptor) == 0)
		survey_socket(self, pid, descriptor);
	proc_name(pid, name, sizeof(name));
	object = text_format("process %d (%s) has open %.200s, descriptor %s", (int) pid, name, link, number);
	reason = survey_link(link);
	if (reason == NULL && fstatat(folder_fd, number, &status, 0) == 0)
		reason = survey_device(&status);
	if (reason != NULL)
		problems_add(self->problems, "let the program close it, or move the service by starting it anew", object,
			     "it is %s, which cannot be saved", reason);
	else if (is_from_outside(self, pid, number, link))
		problems_add(self->problems, "start the container without it", object,
			     "it is a file from outside of the container, which cannot be saved");
}

static void survey_descriptors(struct survey *self, pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/fd", (int) pid);
	DIR *folder = opendir(path);
	struct dirent *entry;
	struct error ignored;

	if (proc_mounts_read(&self->mounts, pid, &ignored) < 0)
		self->mounts = (struct proc_mounts){0};
	while (folder != NULL && (entry = readdir(folder)) != NULL)
		survey_descriptor(self, pid, dirfd(folder), entry->d_name);
	if (folder != NULL)
		(void) closedir(folder);
	proc_mounts_deinit(&self->mounts);
}

static const struct verdict map_verdicts[] = {
	{"anon_inode:[io_uring]", "an io_uring"},
	{"anon_inode:[perf_event]", "a performance counter"},
	{"anon_inode:bpf-", "an eBPF object"},
	{"/anon_hugepage", NULL}, /* hugetlb */
	{"/memfd:", NULL},
	{"/dev/zero", NULL},
	{"/dev/null", NULL},
	{"/dev/shm/", NULL},
	{"/dev/hugepages/", "memory of huge pages (hugetlbfs)"},
	{"/dev/", "memory of a device"},
	{NULL, NULL},
};

const char *survey_map(const char *line)
{
	size_t length = strcspn(line, "\n");
	const char *name = memchr(line, '/', length);
	const char *anonymous = memmem(line, length, "anon_inode:", strlen("anon_inode:"));

	if (anonymous != NULL)
		name = anonymous;
	for (size_t i = 0; name != NULL && map_verdicts[i].prefix != NULL; i++) {
		if (text_has_prefix(name, map_verdicts[i].prefix))
			return map_verdicts[i].reason;
	}
	return NULL;
}

static void survey_maps(struct survey *self, pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/maps", (int) pid);
	auto_free char *maps = NULL;
	struct error ignored;
	char name[64];

	if (file_read(AT_FDCWD, path, MAPS_MAX, &maps, NULL, &ignored) < 0)
		return;
	proc_name(pid, name, sizeof(name));
	for (const char *line = maps; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *reason = survey_map(line);
		auto_free char *object = NULL;

		if (reason == NULL)
			continue;
		object = text_format("process %d (%s) uses memory at %.*s", (int) pid, name, (int) strcspn(line, " "), line);
		problems_add(self->problems, "let the program run without it", object, "it is %s, which cannot be saved", reason);
	}
}

void survey_collect(const struct proc_tasks *tasks, struct problems *problems, bool strangers_end)
{
	struct survey self = {.tasks = tasks, .problems = problems, .strangers_end = strangers_end};

	survey_sockets_begin(&self);
	for (size_t i = 0; i < tasks->count; i++) {
		survey_task(&self, &tasks->items[i]);
		survey_descriptors(&self, tasks->items[i].pid);
		survey_maps(&self, tasks->items[i].pid);
	}
	survey_sockets_end(&self);
}

int survey_tasks(const struct proc_tasks *tasks, struct error *err)
{
	struct problems problems = {0};
	int r;

	survey_collect(tasks, &problems, false);
	r = problems_fail(&problems, err);
	problems_deinit(&problems);
	return r;
}
