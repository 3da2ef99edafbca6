/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of rtnetlink as moving a device takes: one request, then its answer.
 */
#pragma once

#include "base/error.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

#define NETLINK_REQUEST_SIZE 512

struct netlink_request {
	struct nlmsghdr header;
	char body[NETLINK_REQUEST_SIZE]; /* a fixed structure, then attributes */
};

/* fixed is what the kind of message begins with (struct ifinfomsg ...). */
void netlink_request_init(struct netlink_request *self, int kind, int flags, const void *fixed, size_t size);
/* The attribute must fit: their number and sizes are the caller's own. */
void netlink_request_add(struct netlink_request *self, int attribute, const void *data, size_t size);

/* A socket in the network namespace, or with FD_NONE in our own. */
int netlink_open(int namespace_fd, int *ret_fd, struct error *err);
/* Sends, and waits for the kernel to have done it. Returns -errno without a report. */
int netlink_do(int fd, struct netlink_request *request);
/* Calls take for each message of a dump; stops when it returns less than 0. Returns -errno without a report. */
int netlink_dump(int fd, struct netlink_request *request, int (*take)(void *context, const struct nlmsghdr *message), void *context);
