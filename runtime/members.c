/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/members.h"

#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool has_cgroup(const struct container *container)
{
	return container->state.cgroup_path != NULL && container->state.cgroup_path[0] != '\0';
}

static bool pid_namespace_of(const char *pid, struct stat *ret_status)
{
	char path[64];

	return text_fit(path, sizeof(path), "/proc/%s/ns/pid", pid) && stat(path, ret_status) == 0;
}

static int add(pid_t pid, pid_t **pids, size_t *count)
{
	pid_t *larger = realloc(*pids, (*count + 1) * sizeof(*larger));

	if (larger == NULL)
		return -ENOMEM;
	larger[(*count)++] = pid;
	*pids = larger;
	return 0;
}

static int list_namespace(const struct stat *wanted, pid_t **ret_pids, size_t *ret_count, struct error *err)
{
	DIR *folder = opendir("/proc");
	pid_t *pids = NULL;
	size_t count = 0;
	int r = 0;

	if (folder == NULL)
		return fail_errno(err, errno, "open /proc");
	for (struct dirent *entry = readdir(folder); entry != NULL && r == 0; entry = readdir(folder)) {
		struct stat status;
		int pid;

		if (number_parse_int(entry->d_name, 1, INT_MAX, &pid) == 0 && pid_namespace_of(entry->d_name, &status) &&
		    status.st_ino == wanted->st_ino && status.st_dev == wanted->st_dev)
			r = add(pid, &pids, &count);
	}
	closedir(folder);
	if (r < 0) {
		free(pids);
		return fail_errno(err, -r, "list processes");
	}
	*ret_pids = pids;
	*ret_count = count;
	return 0;
}

int members_list(const struct container *container, pid_t **ret_pids, size_t *ret_count, struct error *err)
{
	char init[16];
	struct stat ours, theirs;
	struct cgroup cgroup;

	*ret_pids = NULL;
	*ret_count = 0;
	if (has_cgroup(container))
		return cgroup_init(&cgroup, container->state.cgroup_path, err) < 0 ? err->code
										   : cgroup_processes(&cgroup, ret_pids, ret_count, err);
	(void) text_fit(init, sizeof(init), "%d", (pid_t) container->state.pid.value);
	if (!pid_namespace_of("self", &ours) || !pid_namespace_of(init, &theirs) || !container_is_alive(container))
		return 0;
	/* in ours there are others, too: it is known of nobody but init */
	if (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev)
		return add((pid_t) container->state.pid.value, ret_pids, ret_count) < 0 ? fail_errno(err, ENOMEM, "list processes") : 0;
	return list_namespace(&theirs, ret_pids, ret_count, err);
}

int members_signal(const struct container *container, int signal_number, struct error *err)
{
	auto_free pid_t *pids = NULL;
	size_t count = 0;
	struct cgroup cgroup;

	if (signal_number == SIGKILL && has_cgroup(container))
		return cgroup_init(&cgroup, container->state.cgroup_path, err) < 0 ? err->code : cgroup_kill(&cgroup, err);
	/* of a pid namespace init comes first, and takes the others along when it is killed */
	if (members_list(container, &pids, &count, err) < 0)
		return err->code;
	return cgroup_signal_each(pids, count, signal_number, err);
}
