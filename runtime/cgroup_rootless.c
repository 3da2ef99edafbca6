/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup_rootless.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char *unified_mount(bool *ret_is_alone)
{
	struct statfs filesystem;

	*ret_is_alone = statfs(CGROUP_ROOT, &filesystem) == 0 && filesystem.f_type == CGROUP2_SUPER_MAGIC;
	if (*ret_is_alone)
		return CGROUP_ROOT;
	return statfs(CGROUP_ROOT "/unified", &filesystem) == 0 && filesystem.f_type == CGROUP2_SUPER_MAGIC ? CGROUP_ROOT "/unified" : NULL;
}

/* Who wants to move a process needs the right to do so in what both places have in common. */
static bool may_use(const char *mount, const char *path)
{
	auto_free char *dir = text_format("%s%s", mount, path);
	auto_free char *processes = text_format("%s/cgroup.procs", dir);

	return access(dir, W_OK | X_OK) == 0 && access(processes, W_OK) == 0;
}

/* Ours holds us, so limits could not be handed on to cgroups in it: the one around it is better. */
static char *handed_over(const char *mount)
{
	struct error ignored;
	auto_free char *data = NULL;
	auto_free char *own = NULL;
	auto_free char *around = NULL;
	char *line;

	if (mount == NULL || file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &data, NULL, &ignored) < 0)
		return NULL;
	line = strstr(data, "0::/");
	if (line == NULL || text_has_prefix(line + 3, "/.."))
		return NULL;
	line[strcspn(line, "\n")] = '\0';
	own = text_copy(line + 3);
	around = text_format("%.*s", (int) (strrchr(own, '/') - own), own);
	if (may_use(mount, around))
		return take_ptr(&around);
	return own[1] != '\0' && may_use(mount, own) ? take_ptr(&own) : NULL;
}

static bool has_limits(const struct spec_resources *resources)
{
	const struct spec_memory *memory = &resources->memory;
	const struct spec_cpu *cpu = &resources->cpu;
	const struct spec_block_io *io = &resources->block_io;

	return memory->limit.is_set || memory->reservation.is_set || memory->swap.is_set || cpu->shares.value != 0 || cpu->quota.is_set ||
	       cpu->burst.is_set || cpu->period.value != 0 || cpu->cpus != NULL || cpu->mems != NULL || cpu->idle.is_set ||
	       (resources->pids.limit.is_set && resources->pids.limit.value > 0) || io->weight.value != 0 || io->read_bps.count > 0 ||
	       io->write_bps.count > 0 || io->read_iops.count > 0 || io->write_iops.count > 0 || io->weight_devices.count > 0 ||
	       resources->hugepage_limits.count > 0 || resources->unified.count > 0 || resources->rdma.count > 0;
}

int cgroup_rootless_path(const char *wanted, const char *id, const struct spec_resources *resources,
			 char ret_path[static CGROUP_PATH_SIZE], struct error *err)
{
	bool is_named = wanted != NULL && wanted[0] != '\0';
	bool is_placed = is_named && (wanted[0] == '/' || strchr(wanted, ':') != NULL || strstr(wanted, "..") != NULL);
	bool is_alone = false;
	const char *mount = unified_mount(&is_alone);
	auto_free char *base = NULL;

	base = is_placed ? NULL : handed_over(mount);
	if (has_limits(resources) && (!is_alone || (base == NULL && !is_placed)))
		return fail_because(err, EPERM, "linux.resources: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: limits need a cgroup (v2) "
				    "that user %u may write to, and there is none here; systemd gives one to each session, see `systemd-run --user --scope`", geteuid());
	if (is_placed)
		return 1;
	if (base == NULL && is_named)
		return fail_because(err, EPERM, "linux.cgroupsPath: '%s': user %u may not write to a cgroup (v2) here", wanted, geteuid());
	ret_path[0] = '\0';
	if (base != NULL && !text_fit(ret_path, CGROUP_PATH_SIZE, "%s/%s%s", base, is_named ? "" : "hydra-", is_named ? wanted : id))
		return fail_because(err, ENAMETOOLONG, "linux.cgroupsPath: longer than %d bytes", CGROUP_PATH_SIZE - 1);
	return 0;
}
