/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRIU leaves the sockets of an aborted lazy dump in repair mode; only their owners' descriptors reach them.
 */
#include "checkpoint/tcp_repair.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/kernel.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/proc.h"

static bool is_tcp(int fd)
{
	int protocol = 0, domain = 0;
	socklen_t size = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0 || protocol != IPPROTO_TCP)
		return false;
	size = sizeof(int);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && (domain == AF_INET || domain == AF_INET6);
}

/* 1: switched off, 0: was not on. */
static int give_back(int pidfd, int number)
{
	auto_close int fd = kernel_pidfd_getfd(pidfd, number);
	int repair = 0, off = 0;
	socklen_t size = sizeof(repair);

	if (fd < 0 || !is_tcp(fd) || getsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &repair, &size) < 0 || repair == 0)
		return 0;
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) == 0 ? 1 : -errno;
}

static int give_back_all(pid_t pid, struct error *err)
{
	auto_free char *path = text_format("/proc/%d/fd", (int) pid);
	auto_close int pidfd = kernel_pidfd_open(pid, 0);
	DIR *folder = opendir(path);
	struct dirent *entry;
	int count = 0;

	while (pidfd >= 0 && folder != NULL && (entry = readdir(folder)) != NULL) {
		char link[64];
		int number, r;
		ssize_t size = readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1);

		link[size > 0 ? size : 0] = '\0';
		if (!text_has_prefix(link, "socket:") || number_parse_int(entry->d_name, 0, 1 << 30, &number) < 0)
			continue;
		r = give_back(pidfd, number);
		if (r < 0)
			count = fail_errno(err, -r, "switch off TCP repair of descriptor %d of process %d", number, (int) pid);
		else if (count >= 0)
			count += r;
	}
	if (folder != NULL)
		(void) closedir(folder);
	return count;
}

int tcp_repair_off(pid_t init, struct error *err)
{
	struct proc_tasks tasks;
	int count = 0, r = proc_tasks_read(&tasks, init, err);

	if (r < 0)
		return r == -ESRCH ? 0 : r;
	for (size_t i = 0; i < tasks.count; i++) {
		r = give_back_all(tasks.items[i].pid, err);
		if (r < 0)
			count = r;
		else if (count >= 0)
			count += r;
	}
	proc_tasks_deinit(&tasks);
	return count;
}
