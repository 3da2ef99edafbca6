/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup_delegate.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/id_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool is_new(const struct spec *spec, const char *type)
{
	const struct spec_namespace *entry = spec_find_namespace(spec, type);

	return entry != NULL && (entry->path == NULL || entry->path[0] == '\0');
}

static bool is_writable(const struct spec_mount *mount)
{
	bool is_readonly = false;

	for (size_t i = 0; i < mount->options.count; i++) {
		const char *option = mount->options.items[i];

		if (strcmp(option, "ro") == 0 || strcmp(option, "rro") == 0 || strcmp(option, "rw") == 0)
			is_readonly = strcmp(option, "rw") != 0;
	}
	return !is_readonly;
}

bool cgroup_delegate_is_wanted(const struct spec *spec)
{
	if (!is_new(spec, "user") || !is_new(spec, "cgroup"))
		return false;
	for (size_t i = 0; i < spec->mounts.count; i++) {
		const struct spec_mount *mount = &spec->mounts.items[i];

		if (mount->type != NULL && strcmp(mount->type, "cgroup") == 0 && is_writable(mount))
			return true;
	}
	return false;
}

/* Kernels before 4.15 do not have the list. */
static char *delegated_files(void)
{
	struct error ignored;
	char *list = NULL;

	if (file_read(AT_FDCWD, "/sys/kernel/cgroup/delegate", 4096, &list, NULL, &ignored) < 0)
		return text_copy("cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n");
	return list;
}

int cgroup_delegate(const struct cgroup *self, const struct spec *spec, struct error *err)
{
	const struct cgroup_hierarchy *item = cgroup_find(self, "");
	auto_free char *files = delegated_files();
	auto_close int dir_fd = FD_NONE;
	char *rest = NULL;
	uint32_t uid, gid;

	if (item == NULL || !id_map_find(&spec->linux_part.uid_mappings, 0, &uid) || !id_map_find(&spec->linux_part.gid_mappings, 0, &gid))
		return 0;
	dir_fd = open(item->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* who is not root gives nothing away: what he has is his container's root's already */
	if (dir_fd < 0 || (fchown(dir_fd, uid, gid) < 0 && errno != EPERM))
		return fail_errno(err, errno, "hand cgroup %s over", item->dir);
	for (char *name = strtok_r(files, "\n", &rest); name != NULL; name = strtok_r(NULL, "\n", &rest))
		if (fchownat(dir_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT && errno != EPERM)
			return fail_errno(err, errno, "hand %s/%s over", item->dir, name);
	return 0;
}
