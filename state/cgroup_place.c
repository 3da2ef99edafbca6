/* SPDX-License-Identifier: Apache-2.0 */
#include "state/cgroup_place.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#define UNIT "/hydra.slice/hydra-containers.service"

/* Where systemd keeps its own tree: cgroup v2, v1, hybrid. */
static const char *const mounts[SUPERVISOR_CGROUPS_MAX] = {"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"};

static bool is_delegated(const char *mount)
{
	char dir[96];

	return text_fit(dir, sizeof(dir), "%s" UNIT, mount) && path_exists(AT_FDCWD, dir);
}

static const char *parent_asked_for(void)
{
	const char *parent = getenv("HYDRA_CGROUP");

	return parent != NULL && parent[0] == '/' ? parent : NULL;
}

const char *cgroup_parent(void)
{
	const char *parent = parent_asked_for();

	for (size_t i = 0; parent == NULL && i < SUPERVISOR_CGROUPS_MAX; i++) {
		if (is_delegated(mounts[i]))
			parent = UNIT "/containers";
	}
	return parent != NULL ? parent : "/hydra";
}

void supervisor_cgroups_find(struct supervisor_cgroups *ret_self)
{
	size_t count = 0;

	for (size_t i = 0; parent_asked_for() == NULL && i < SUPERVISOR_CGROUPS_MAX; i++) {
		char *dir = ret_self->dirs[count];

		if (!is_delegated(mounts[i]) || !text_fit(dir, sizeof(ret_self->dirs[0]), "%s" UNIT "/supervisors", mounts[i]))
			continue;
		if (mkdir(dir, 0755) == 0 || errno == EEXIST)
			ret_self->list[count++] = dir;
	}
	ret_self->list[count] = NULL;
}
