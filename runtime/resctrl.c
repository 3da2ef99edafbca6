/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/resctrl.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/schemata.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define MOUNT_POINT   "/sys/fs/resctrl"
#define RESCTRL_MAGIC 0x7655821
#define SCHEMATA_MAX  65536

/* No machine that this was made on has the hardware: a test build can be given a hierarchy with such `tasks` files instead. */
static const char *mount_point(void)
{
	const char *instead = fault_setting("HYDRA_RESCTRL");

	return instead != NULL ? instead : MOUNT_POINT;
}

bool resctrl_is_mounted(void)
{
	struct statfs filesystem;
	bool is_there = statfs(mount_point(), &filesystem) == 0;

	return is_there && (filesystem.f_type == RESCTRL_MAGIC || strcmp(mount_point(), MOUNT_POINT) != 0);
}

static bool is_root_class(const struct spec_intel_rdt *rdt)
{
	return rdt->class_id != NULL && strcmp(rdt->class_id, "/") == 0;
}

static bool has_schemata(const struct spec_intel_rdt *rdt)
{
	return rdt->schemata.count > 0 || rdt->cache_schema != NULL || rdt->bandwidth_schema != NULL;
}

static char *class_folder(const struct spec_intel_rdt *rdt, const char *id)
{
	return text_copy(is_root_class(rdt) ? "." : rdt->class_id != NULL ? rdt->class_id : id);
}

char *resctrl_group(const struct spec_intel_rdt *rdt, const char *id)
{
	auto_free char *class = rdt != NULL ? class_folder(rdt, id) : text_copy("");

	return rdt != NULL && rdt->enable_monitoring ? text_format("%s/mon_groups/%s", class, id) : text_copy(class);
}

/* Not what the file system has for itself. */
static bool is_class_name(const char *name)
{
	static const char *const reserved[] = {"", ".", "..", "info", "mon_groups", "mon_data", NULL};

	return !text_is_one_of(name, reserved) && strchr(name, '/') == NULL && strchr(name, '\n') == NULL && strlen(name) <= NAME_MAX;
}

char *resctrl_own_folder(const struct spec_intel_rdt *rdt, const char *id)
{
	if (rdt == NULL || (rdt->class_id != NULL && !rdt->enable_monitoring) || (rdt->class_id == NULL && !is_class_name(id)))
		return text_copy("");
	return rdt->class_id != NULL ? resctrl_group(rdt, id) : class_folder(rdt, id);
}

static int open_root(int *ret_fd, struct error *err)
{
	*ret_fd = open(mount_point(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? fail_errno(err, errno, "linux.intelRdt: open %s", mount_point()) : 0;
}

static int check_class_name(const char *name, struct error *err)
{
	if (strcmp(name, "/") == 0 || is_class_name(name))
		return 0;
	return fail_because(err, EINVAL, "linux.intelRdt.closID: '%.*s': expected the name of a class of service, or \"/\"",
			    (int) strcspn(name, "\n"), name);
}

static int check_monitoring(const struct spec_intel_rdt *rdt, int root_fd, struct error *err)
{
	bool is_wanted = rdt->enable_monitoring || rdt->enable_cache_monitoring || rdt->enable_bandwidth_monitoring;

	if (!is_wanted || path_exists(root_fd, "info/L3_MON"))
		return 0;
	return fail_because(err, ENOTSUP, "linux.intelRdt.%s: not supported by this machine (no %s/info/L3_MON)",
			    rdt->enable_monitoring ? "enableMonitoring" : rdt->enable_cache_monitoring ? "enableCMT" : "enableMBM", mount_point());
}

/* One that somebody made before is not changed, since others are in it, too. */
static int check_class(const struct spec_intel_rdt *rdt, int root_fd, struct error *err)
{
	auto_free char *folder = class_folder(rdt, "");
	auto_free char *path = text_format("%s/schemata", folder);
	auto_free char *wanted = schemata_wanted(rdt);
	auto_free char *current = NULL;

	if (rdt->class_id == NULL)
		return 0;
	if (!path_exists(root_fd, folder))
		return has_schemata(rdt) ? 0 : fail_because(err, ENOENT, "linux.intelRdt.closID: there is no class of service '%s', and no "
							    "schemata to make it with", rdt->class_id);
	if (!has_schemata(rdt))
		return 0;
	if (file_read(root_fd, path, SCHEMATA_MAX, &current, NULL, err) < 0)
		return fail_while(err, "linux.intelRdt.closID");
	if (!schemata_agree(current, wanted))
		return fail_because(err, EEXIST, "linux.intelRdt.closID: the class of service '%s' has other schemata already", rdt->class_id);
	return 0;
}

int resctrl_check(const struct spec_intel_rdt *rdt, struct error *err)
{
	auto_close int root_fd = FD_NONE;

	if (rdt == NULL)
		return 0;
	if ((rdt->class_id != NULL && check_class_name(rdt->class_id, err) < 0) || schemata_check(rdt, err) < 0)
		return err->code;
	if (!resctrl_is_mounted())
		return fail_because(err, ENOTSUP, "linux.intelRdt: not supported by this kernel (no resctrl is mounted at " MOUNT_POINT ")");
	if (open_root(&root_fd, err) < 0 || check_monitoring(rdt, root_fd, err) < 0)
		return err->code;
	return check_class(rdt, root_fd, err);
}

/* The kernel tells more than a number. */
static int set_schemata(int root_fd, const char *folder, const char *lines, struct error *err)
{
	auto_free char *path = text_format("%s/schemata", folder);
	auto_free char *status = NULL;
	struct error ignored;

	if (file_set(root_fd, path, lines, err) == 0)
		return 0;
	if (file_read(root_fd, "info/last_cmd_status", 4096, &status, NULL, &ignored) == 0)
		return fail_because(err, -err->code, "linux.intelRdt: the kernel refuses '%.*s': %.*s", (int) strcspn(lines, "\n"), lines,
				    (int) strcspn(status, "\n"), status);
	return fail_while(err, "linux.intelRdt");
}

static int make_folder(int root_fd, const char *folder, struct error *err)
{
	if (mkdirat(root_fd, folder, 0755) < 0 && errno != EEXIST)
		return fail_errno(err, errno, "linux.intelRdt: make %s/%s%s", mount_point(), folder,
				  errno == ENOSPC ? " (the processor has no more classes or monitoring groups)" : "");
	return 0;
}

static int make_class(const struct spec_intel_rdt *rdt, const char *id, int root_fd, struct error *err)
{
	auto_free char *folder = class_folder(rdt, id);
	auto_free char *wanted = schemata_wanted(rdt);
	bool is_there = path_exists(root_fd, folder);

	if (rdt->class_id == NULL && !is_class_name(id))
		return fail_because(err, EINVAL, "linux.intelRdt: a container called '%s' can have no class of its own: give linux.intelRdt.closID", id);
	if (make_folder(root_fd, folder, err) < 0)
		return err->code;
	if (!has_schemata(rdt) || (is_there && rdt->class_id != NULL) || set_schemata(root_fd, folder, wanted, err) == 0)
		return 0;
	if (!is_there)
		(void) unlinkat(root_fd, folder, AT_REMOVEDIR);
	return err->code;
}

int resctrl_make(const struct spec_intel_rdt *rdt, const char *id, struct error *err)
{
	auto_close int root_fd = FD_NONE;
	auto_free char *group = NULL;

	if (rdt == NULL)
		return 0;
	if (open_root(&root_fd, err) < 0 || make_class(rdt, id, root_fd, err) < 0)
		return err->code;
	group = resctrl_group(rdt, id);
	return rdt->enable_monitoring ? make_folder(root_fd, group, err) : 0;
}

static int join_threads(int tasks_fd, pid_t pid, struct error *err)
{
	auto_free char *path = text_format("/proc/%d/task", pid);
	DIR *folder = opendir(path);
	int r = 0;

	if (folder == NULL)
		return 0;
	for (struct dirent *entry = readdir(folder); entry != NULL && r == 0; entry = readdir(folder))
		if (entry->d_name[0] != '.' && write(tasks_fd, entry->d_name, strlen(entry->d_name)) < 0 && errno != ESRCH)
			r = fail_errno(err, errno, "linux.intelRdt: add thread %s to the container's group", entry->d_name);
	closedir(folder);
	return r;
}

int resctrl_join(const char *group, const pid_t *pids, size_t count, struct error *err)
{
	auto_close int tasks_fd = FD_NONE;
	auto_free char *path = NULL;

	if (group == NULL || group[0] == '\0')
		return 0;
	path = text_format("%s/%s/tasks", mount_point(), group);
	tasks_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (tasks_fd < 0)
		return fail_errno(err, errno, "linux.intelRdt: open %s", path);
	for (size_t i = 0; i < count; i++)
		if (join_threads(tasks_fd, pids[i], err) < 0)
			return err->code;
	return 0;
}

int resctrl_set(const struct spec_intel_rdt *rdt, const char *id, struct error *err)
{
	auto_close int root_fd = FD_NONE;
	auto_free char *folder = class_folder(rdt, id);
	auto_free char *wanted = schemata_wanted(rdt);

	return open_root(&root_fd, err) < 0 ? err->code : set_schemata(root_fd, folder, wanted, err);
}

int resctrl_remove(const char *folder, struct error *err)
{
	auto_free char *path = folder != NULL && folder[0] != '\0' ? text_format("%s/%s", mount_point(), folder) : NULL;

	if (path != NULL && rmdir(path) < 0 && errno != ENOENT)
		return fail_errno(err, errno, "remove %s", path);
	return 0;
}
