/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/netlink.h"

#include "base/owned.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_SIZE 32768

void netlink_request_init(struct netlink_request *self, int kind, int flags, const void *fixed, size_t size)
{
	memset(self, 0, sizeof(*self));
	self->header.nlmsg_type = (uint16_t) kind;
	self->header.nlmsg_flags = (uint16_t) (NLM_F_REQUEST | flags);
	self->header.nlmsg_len = (uint32_t) NLMSG_LENGTH(size);
	memcpy(self->body, fixed, size);
}

void netlink_request_add(struct netlink_request *self, int attribute, const void *data, size_t size)
{
	const struct rtattr head = {.rta_len = (unsigned short) RTA_LENGTH(size), .rta_type = (unsigned short) attribute};
	size_t at = NLMSG_ALIGN(self->header.nlmsg_len) - sizeof(self->header);

	assert(at + RTA_SPACE(size) <= sizeof(self->body));
	memcpy(self->body + at, &head, sizeof(head));
	memcpy(self->body + at + RTA_LENGTH(0), data, size);
	self->header.nlmsg_len = (uint32_t) (sizeof(self->header) + at + RTA_LENGTH(size));
}

int netlink_open(int namespace_fd, int *ret_fd, struct error *err)
{
	auto_close int own_fd = namespace_fd < 0 ? FD_NONE : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd, failure;

	if (namespace_fd >= 0 && (own_fd < 0 || setns(namespace_fd, CLONE_NEWNET) < 0))
		return fail_errno(err, errno, "enter the network namespace");
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	failure = errno;
	if (namespace_fd >= 0 && setns(own_fd, CLONE_NEWNET) < 0) {
		(void) fail_errno(err, errno, "go back to the own network namespace");
		if (fd >= 0)
			close(fd);
		return err->code;
	}
	if (fd < 0)
		return fail_errno(err, failure, "open a netlink socket");
	*ret_fd = fd;
	return 0;
}

static int send_request(int fd, struct netlink_request *request)
{
	static unsigned int sequence;

	request->header.nlmsg_seq = ++sequence;
	return send(fd, request, request->header.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* 1 when the answer is complete. */
static int read_message(const struct nlmsghdr *message, int (*take)(void *, const struct nlmsghdr *), void *context)
{
	const struct nlmsgerr *verdict = NLMSG_DATA(message);

	if (message->nlmsg_type == NLMSG_DONE)
		return 1;
	if (message->nlmsg_type == NLMSG_ERROR)
		return verdict->error < 0 ? verdict->error : 1;
	return take != NULL ? take(context, message) : 0;
}

static int receive_answer(int fd, int (*take)(void *, const struct nlmsghdr *), void *context)
{
	char *buffer = malloc(ANSWER_SIZE);
	int r = buffer != NULL ? 0 : -ENOMEM;

	while (r == 0) {
		ssize_t size = recv(fd, buffer, ANSWER_SIZE, 0);
		unsigned int left = size > 0 ? (unsigned int) size : 0;

		if (size <= 0)
			r = size < 0 ? -errno : -EPIPE;
		for (struct nlmsghdr *at = (struct nlmsghdr *) (void *) buffer; r == 0 && NLMSG_OK(at, left); at = NLMSG_NEXT(at, left))
			r = read_message(at, take, context);
	}
	free(buffer);
	return r < 0 ? r : 0;
}

int netlink_do(int fd, struct netlink_request *request)
{
	int r;

	request->header.nlmsg_flags |= NLM_F_ACK;
	r = send_request(fd, request);
	return r < 0 ? r : receive_answer(fd, NULL, NULL);
}

int netlink_dump(int fd, struct netlink_request *request, int (*take)(void *context, const struct nlmsghdr *message), void *context)
{
	int r;

	request->header.nlmsg_flags |= NLM_F_DUMP;
	r = send_request(fd, request);
	return r < 0 ? r : receive_answer(fd, take, context);
}
