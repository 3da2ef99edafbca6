/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets: which of them CRIU can make again, and whether the other end of a Unix socket is in the container, too. What a socket is,
 * a duplicate of its descriptor tells; who its peer is, the kernel's socket diagnosis.
 */
#include "checkpoint/survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"

#define SOCKETS_MAX (1U << 20)

static void add_socket(struct survey *self, unsigned long long inode)
{
	unsigned long long *grown;

	if (self->socket_count >= SOCKETS_MAX)
		return;
	grown = reallocarray(self->sockets, self->socket_count + 1, sizeof(*grown));
	if (grown == NULL)
		return;
	self->sockets = grown;
	self->sockets[self->socket_count++] = inode;
}

void survey_sockets_begin(struct survey *self)
{
	for (size_t i = 0; i < self->tasks->count; i++) {
		auto_free char *path = text_format("/proc/%d/fd", (int) self->tasks->items[i].pid);
		DIR *folder = opendir(path);
		struct dirent *entry;
		struct stat status;

		while (folder != NULL && (entry = readdir(folder)) != NULL) {
			if (fstatat(dirfd(folder), entry->d_name, &status, 0) == 0 && S_ISSOCK(status.st_mode))
				add_socket(self, status.st_ino);
		}
		if (folder != NULL)
			(void) closedir(folder);
	}
}

void survey_sockets_end(struct survey *self)
{
	free(self->sockets);
	self->sockets = NULL;
	self->socket_count = 0;
}

static bool is_inside(const struct survey *self, unsigned long long inode)
{
	for (size_t i = 0; i < self->socket_count; i++) {
		if (self->sockets[i] == inode)
			return true;
	}
	return false;
}

static int duplicate(pid_t pid, int number)
{
	auto_close int pidfd = kernel_pidfd_open(pid, 0);

	return pidfd < 0 ? -1 : kernel_pidfd_getfd(pidfd, number);
}

/* A socket for questions, in the network namespace that fd belongs to; we are back in ours then. */
static int open_diagnosis(int fd)
{
	auto_close int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	auto_close int theirs = ioctl(fd, SIOCGSKNS);
	int made = -1;

	if (ours < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
		return -1;
	made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (setns(ours, CLONE_NEWNET) < 0)
		abort(); /* everything after it would be about another network */
	return made;
}

struct question {
	struct nlmsghdr head;
	struct unix_diag_req request;
};

/* 0: none, or it is not known. */
static uint32_t peer_in(const char *answer, ssize_t size)
{
	const struct nlmsghdr *head = (const void *) answer;
	const struct unix_diag_msg *message;
	const char *at, *end = answer + size;

	if (size < (ssize_t) (sizeof(*head) + sizeof(*message)) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return 0;
	at = answer + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(*message));
	while (at + sizeof(struct nlattr) <= end) {
		const struct nlattr *attribute = (const void *) at;
		uint32_t inode;

		if (attribute->nla_len < sizeof(*attribute) || at + attribute->nla_len > end)
			return 0;
		if (attribute->nla_type == UNIX_DIAG_PEER && attribute->nla_len >= NLA_HDRLEN + sizeof(inode)) {
			memcpy(&inode, at + NLA_HDRLEN, sizeof(inode));
			return inode;
		}
		at += NLA_ALIGN(attribute->nla_len);
	}
	return 0;
}

static uint32_t peer_of(int fd)
{
	struct question question = {.head = {.nlmsg_len = sizeof(question), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
					     .nlmsg_flags = NLM_F_REQUEST},
				    .request = {.sdiag_family = AF_UNIX, .udiag_show = UDIAG_SHOW_PEER,
						.udiag_cookie = {~0U, ~0U}}};
	auto_close int diagnosis = open_diagnosis(fd);
	char answer[4096] __attribute__((aligned(__alignof__(struct nlmsghdr))));
	struct stat status;
	ssize_t size;

	if (diagnosis < 0 || fstat(fd, &status) < 0)
		return 0;
	question.request.udiag_ino = (uint32_t) status.st_ino;
	if (send(diagnosis, &question, sizeof(question), 0) < 0)
		return 0;
	size = recv(diagnosis, answer, sizeof(answer), 0);
	return peer_in(answer, size);
}

static bool is_from_container(const struct survey *self, int fd)
{
	auto_close int theirs = ioctl(fd, SIOCGSKNS);
	struct stat here, there;

	/* tasks may have network namespaces of their own */
	for (size_t i = 0; theirs >= 0 && fstat(theirs, &there) == 0 && i < self->tasks->count; i++) {
		auto_free char *path = text_format("/proc/%d/ns/net", (int) self->tasks->items[i].pid);

		if (stat(path, &here) == 0 && here.st_ino == there.st_ino)
			return true;
	}
	return theirs < 0;
}

static int option_of(int fd, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

static bool is_internet_saved(int protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == IPPROTO_RAW ||
	       protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* NULL: it can be saved. */
static const char *verdict_on(const struct survey *self, int fd)
{
	int family = option_of(fd, SO_DOMAIN), protocol = option_of(fd, SO_PROTOCOL);
	uint32_t peer;

	if (!is_from_container(self, fd))
		return "it was made outside of the container";
	switch (family) {
	case AF_UNIX:
		peer = peer_of(fd);
		return peer != 0 && !is_inside(self, peer) ? "its other end is outside of the container" : NULL;
	case AF_INET:
	case AF_INET6:
		return is_internet_saved(protocol) ? NULL : "its protocol is none that can be saved";
	case AF_NETLINK:
	case AF_PACKET:
	case -1:
		return NULL;
	default:
		return "its address family is none that can be saved";
	}
}

void survey_socket(struct survey *self, pid_t pid, int number)
{
	auto_close int fd = duplicate(pid, number);
	auto_free char *object = NULL;
	const char *reason;
	struct stat status;
	char name[64];

	if (fd < 0 || fstat(fd, &status) < 0)
		return;
	reason = verdict_on(self, fd);
	if (reason == NULL)
		return;
	proc_name(pid, name, sizeof(name));
	object = text_format("process %d (%s) has open socket:[%llu], descriptor %d", (int) pid, name, (unsigned long long) status.st_ino,
			     number);
	problems_add(self->problems, "let the program close it, or start the container without it", object, "%s", reason);
}
