/* SPDX-License-Identifier: Apache-2.0 */
#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int kernel_pidfd_open(pid_t pid, unsigned int flags)
{
	return (int) syscall(SYS_pidfd_open, pid, flags);
}

int kernel_pidfd_send_signal(int pidfd, int signal_number)
{
	return (int) syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0);
}

int kernel_pidfd_getfd(int pidfd, int target_fd)
{
	return (int) syscall(SYS_pidfd_getfd, pidfd, target_fd, 0);
}

bool kernel_is_same_file(int fd, int other_fd)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, other_fd) == 0;
}

int kernel_close_range(unsigned int first, unsigned int last, unsigned int flags)
{
	return (int) syscall(SYS_close_range, first, last, flags);
}

int kernel_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .mode = (flags & O_CREAT) != 0 ? mode : 0, .resolve = resolve};

	return (int) syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
}

int kernel_pivot_root(const char *new_root, const char *put_old)
{
	return (int) syscall(SYS_pivot_root, new_root, put_old);
}

int kernel_open_tree(int dir_fd, const char *path, unsigned int flags)
{
	return (int) syscall(SYS_open_tree, dir_fd, path, flags);
}

int kernel_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	return (int) syscall(SYS_move_mount, from_fd, from, to_fd, to, flags);
}

int kernel_mount_setattr(int dir_fd, const char *path, unsigned int flags, uint64_t set, uint64_t clear)
{
	struct mount_attr attributes = {.attr_set = set, .attr_clr = clear};

	return (int) syscall(SYS_mount_setattr, dir_fd, path, flags, &attributes, sizeof(attributes));
}

pid_t kernel_clone3(uint64_t flags, int *ret_pidfd, int cgroup_fd)
{
	struct clone_args args = {
		.flags = flags,
		.pidfd = (uint64_t) (uintptr_t) ret_pidfd,
		.exit_signal = SIGCHLD,
	};

	if (cgroup_fd >= 0) {
		args.flags |= KERNEL_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t) cgroup_fd;
	}
	return (pid_t) syscall(SYS_clone3, &args, sizeof(args));
}

/* The kernel's struct pidfd_info, which may be newer than the headers we are built with. */
struct pidfd_info_v1 {
	uint64_t mask;
	uint64_t cgroup_id;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};

#define PIDFD_GET_INFO_V1  _IOWR(0xFF, 11, struct pidfd_info_v1)
#define PIDFD_INFO_EXIT_V1 (1ULL << 3)

int kernel_pidfd_exit_status(int pidfd, int *ret_wait_status)
{
	struct pidfd_info_v1 info = {.mask = PIDFD_INFO_EXIT_V1};
	int r = ioctl(pidfd, PIDFD_GET_INFO_V1, &info);

	/* The kernel looks for the status, then for the process: one that is reaped in between has neither. The second time
	 * its status is there. */
	if (r < 0 && errno == ESRCH) {
		info = (struct pidfd_info_v1){.mask = PIDFD_INFO_EXIT_V1};
		r = ioctl(pidfd, PIDFD_GET_INFO_V1, &info);
	}
	if (r < 0)
		return errno == ESRCH ? -ENODATA : -EOPNOTSUPP;
	if ((info.mask & PIDFD_INFO_EXIT_V1) == 0)
		return -EAGAIN;
	*ret_wait_status = info.exit_code;
	return 0;
}
