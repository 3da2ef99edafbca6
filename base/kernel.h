/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls and constants that libc lacks or that only newer kernels have.
 * Each returns what the system call returns: -1 with errno on failure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

int kernel_pidfd_open(pid_t pid, unsigned int flags);
int kernel_pidfd_send_signal(int pidfd, int signal_number);
int kernel_pidfd_getfd(int pidfd, int target_fd);
/* Two of our descriptors are one open file; false also when the kernel can't tell. */
bool kernel_is_same_file(int fd, int other_fd);
int kernel_close_range(unsigned int first, unsigned int last, unsigned int flags);
int kernel_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int kernel_pivot_root(const char *new_root, const char *put_old);
int kernel_open_tree(int dir_fd, const char *path, unsigned int flags);
int kernel_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags);
int kernel_mount_setattr(int dir_fd, const char *path, unsigned int flags, uint64_t set, uint64_t clear);

#define KERNEL_CLONE_INTO_CGROUP 0x200000000ULL
/* clone3 without a stack (fork-like). *ret_pidfd may be asked for with CLONE_PIDFD; cgroup_fd < 0: none. */
pid_t kernel_clone3(uint64_t flags, int *ret_pidfd, int cgroup_fd);

/* Exit status of a process that someone else reaped (kernel 6.15: PIDFD_INFO_EXIT). 0 and *ret_wait_status, or -errno:
 * -EAGAIN still runs, -ENODATA the kernel does not keep it, -EOPNOTSUPP the kernel can't. */
int kernel_pidfd_exit_status(int pidfd, int *ret_wait_status);
