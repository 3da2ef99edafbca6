/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a container that comes from another host, while it still answers there.
 *
 * The plugins announce what they connect: on the real network that would draw the container's packets here, to be
 * answered with resets. So they work in a decoy of the host's network namespace, where nobody hears them; the finished
 * pair's end is then moved to the host, unplugged. The bridge it belongs to must be there already.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "setup/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct move_request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	struct rtattr attribute;
	int namespace_fd;
};

struct move_answer {
	struct nlmsghdr header;
	struct nlmsgerr error;
	char rest[512];
};

/* From this network namespace to another. */
static int move_interface(const char *name, int namespace_fd, struct error *err)
{
	auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct move_request request = {
		.header = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_family = AF_UNSPEC, .ifi_index = (int) if_nametoindex(name)},
		.attribute = {.rta_len = RTA_LENGTH(sizeof(int)), .rta_type = IFLA_NET_NS_FD},
		.namespace_fd = namespace_fd,
	};
	struct move_answer answer;

	if (fd < 0 || request.link.ifi_index == 0 || send(fd, &request, sizeof(request), 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < (ssize_t) (sizeof(answer.header) + sizeof(answer.error.error)))
		return fail_errno(err, errno, "move interface '%s' to the host", name);
	return answer.error.error < 0 ? fail_errno(err, -answer.error.error, "move interface '%s' to the host", name) : 0;
}

/* "10.0.0.5/24" and "10.0.0.5" are the same address. */
static bool is_same_address(const char *one, const char *other)
{
	size_t size = strcspn(one, "/");

	return size == strcspn(other, "/") && strncmp(one, other, size) == 0;
}

static int check(const Hydra__V1__Network *wanted, const Hydra__V1__Network *got, struct error *err)
{
	if (wanted->ip[0] != '\0' && !is_same_address(wanted->ip, got->ip))
		return fail_because(err, EADDRINUSE, "network '%s' gives address %s here instead of %s", wanted->mode, got->ip, wanted->ip);
	if (wanted->mac[0] != '\0' && strcasecmp(wanted->mac, got->mac) != 0)
		return fail_because(err, EADDRNOTAVAIL, "network '%s' gives MAC address %s here instead of %s", wanted->mode, got->mac,
				    wanted->mac);
	return 0;
}

static int connect_in_decoy(struct run_dir *dir, record *container, int host_fd, struct error *err)
{
	Hydra__V1__Network *network = container->network;
	Hydra__V1__Network *wanted = (void *) message_copy(&network->base);
	auto_close int decoy_fd = FD_NONE;
	int r;

	if (wanted == NULL || unshare(CLONE_NEWNET) < 0)
		return fail_errno(err, wanted == NULL ? ENOMEM : errno, "make a network namespace");
	decoy_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	r = network_add_unpublished(dir, container, err);
	if (r == 0)
		r = check(wanted, network, err);
	if (r == 0 && network->host_interface[0] != '\0')
		r = move_interface(network->host_interface, host_fd, err);
	message_free(wanted);
	return r;
}

/* Moving has set it down. Up but unplugged it has its carrier when it is plugged: the kernel may take a second for that. */
static int set_up(const char *name, struct error *err)
{
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	if (fd < 0 || !text_fit(request.ifr_name, sizeof(request.ifr_name), "%s", name) || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return fail_errno(err, errno, "look at interface '%s'", name);
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? fail_errno(err, errno, "set interface '%s' up", name) : 0;
}

int network_receive(struct run_dir *dir, record *container, struct error *err)
{
	auto_close int host_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	Hydra__V1__Network *network = container->network;
	int r;

	if (host_fd < 0)
		return fail_errno(err, errno, "open the host's network namespace");
	r = connect_in_decoy(dir, container, host_fd, err);
	if (setns(host_fd, CLONE_NEWNET) < 0)
		return fail_errno(err, errno, "go back to the host's network namespace");
	if (r == 0 && network->bridge[0] != '\0' && if_nametoindex(network->bridge) == 0)
		r = fail_because(err, ENODEV, "bridge '%s' of network '%s' is missing on this host", network->bridge, network->mode);
	if (r == 0 && network->bridge[0] != '\0' && network->host_interface[0] != '\0')
		r = set_up(network->host_interface, err);
	return r == 0 ? network_publish(dir, container, err) : r;
}
