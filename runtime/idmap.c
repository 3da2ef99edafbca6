/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount's mapping is a user namespace; one is borrowed from a child that lives just long enough to have it opened.
 */
#include "runtime/idmap.h"

#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/user_map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_user_namespace(pid_t pid, int *ret_fd, struct error *err)
{
	char path[64];

	(void) text_fit(path, sizeof(path), "/proc/%d/ns/user", pid);
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? fail_errno(err, errno, "open %s", path) : 0;
}

static int mapped_namespace(const struct spec_mount *mount, int *ret_fd, struct error *err)
{
	pid_t pid = kernel_clone3(CLONE_NEWUSER, NULL, -1);
	int r;

	if (pid < 0)
		return fail_errno(err, errno, "make a user namespace for mount '%s'", mount->destination);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	r = user_map_write(pid, &mount->uid_mappings, &mount->gid_mappings, err);
	if (r == 0)
		r = open_user_namespace(pid, ret_fd, err);
	(void) kill(pid, SIGKILL);
	(void) waitpid(pid, NULL, 0);
	return r;
}

int idmap_apply(int mount_fd, const struct spec_mount *mount, bool is_recursive, struct error *err)
{
	auto_close int namespace_fd = FD_NONE;
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP};
	unsigned int flags = AT_EMPTY_PATH | (is_recursive ? AT_RECURSIVE : 0U);

	if (mount->uid_mappings.count == 0 || mount->gid_mappings.count == 0)
		return fail_because(err, EINVAL, "mount '%s': idmap needs uidMappings and gidMappings", mount->destination);
	if (mapped_namespace(mount, &namespace_fd, err) < 0)
		return err->code;
	attributes.userns_fd = (uint64_t) namespace_fd;
	if (syscall(SYS_mount_setattr, mount_fd, "", flags, &attributes, sizeof(attributes)) < 0)
		return errno == EINVAL ? fail_because(err, ENOTSUP, "map the ids of mount '%s': not supported by its file system", mount->destination)
				       : fail_errno(err, errno, "map the ids of mount '%s'", mount->destination);
	return 0;
}
