/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/bridge.h"

#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#include "base/owned.h"
#include "base/text.h"

#define PORT_ATTRIBUTES 4

static int change_flags(int fd, const char *veth, bool is_up, struct error *err)
{
	struct ifreq request = {0};

	if (!text_fit(request.ifr_name, sizeof(request.ifr_name), "%s", veth))
		return fail_because(err, EINVAL, "'%s' is too long for the name of an interface", veth);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return fail_errno(err, errno, "look at interface '%s'", veth);
	request.ifr_flags = (short) (is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return fail_errno(err, errno, "set interface '%s' %s", veth, is_up ? "up" : "down");
	return 0;
}

static int change_bridge(int fd, const char *veth, const char *bridge, bool is_in, struct error *err)
{
	struct ifreq request = {0};

	if (!text_fit(request.ifr_name, sizeof(request.ifr_name), "%s", bridge))
		return fail_because(err, EINVAL, "'%s' is too long for the name of a bridge", bridge);
	request.ifr_ifindex = (int) if_nametoindex(veth);
	if (request.ifr_ifindex == 0)
		return fail_errno(err, errno, "look for interface '%s'", veth);
	if (ioctl(fd, is_in ? SIOCBRADDIF : SIOCBRDELIF, &request) == 0)
		return 0;
	if ((is_in && errno == EBUSY) || (!is_in && errno == EINVAL))
		return 0; /* is already there, or not */
	return fail_errno(err, errno, is_in ? "plug '%s' into bridge '%s'" : "unplug '%s' from bridge '%s'", veth, bridge);
}

struct port_request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	struct rtattr nest;
	struct port_attribute {
		struct rtattr attribute;
		uint8_t value;
		uint8_t padding[3];
	} values[PORT_ATTRIBUTES];
	struct rtattr flush;
};

/* What is not flooded to a port whose addresses are forgotten, and not learned again, does not get there at all. */
static void fill_port_request(struct port_request *request, const char *veth)
{
	static const unsigned short off[PORT_ATTRIBUTES] = {IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD,
							    IFLA_BRPORT_BCAST_FLOOD};

	*request = (struct port_request){
		.header = {.nlmsg_len = sizeof(*request), .nlmsg_type = RTM_SETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_family = AF_BRIDGE, .ifi_index = (int) if_nametoindex(veth)},
		.nest = {.rta_len = sizeof(*request) - offsetof(struct port_request, nest), .rta_type = IFLA_PROTINFO | NLA_F_NESTED},
		.flush = {.rta_len = RTA_LENGTH(0), .rta_type = IFLA_BRPORT_FLUSH},
	};
	for (size_t i = 0; i < PORT_ATTRIBUTES; i++)
		request->values[i].attribute = (struct rtattr){.rta_len = RTA_LENGTH(1), .rta_type = off[i]};
}

int veth_silence(const char *veth, const char *bridge, struct error *err)
{
	auto_close int fd = FD_NONE;
	struct port_request request;
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[512];
	} answer;

	if (veth == NULL || *veth == '\0' || bridge == NULL || *bridge == '\0')
		return veth_unplug(veth, bridge, err);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	fill_port_request(&request, veth);
	if (fd < 0 || request.link.ifi_index == 0 || send(fd, &request, sizeof(request), 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < (ssize_t) (sizeof(answer.header) + sizeof(answer.error.error)))
		return fail_errno(err, errno, "hold back what comes for '%s'", veth);
	return answer.error.error < 0 ? fail_errno(err, -answer.error.error, "hold back what comes for '%s'", veth) : 0;
}

int veth_plug_again(const char *veth, const char *bridge, struct error *err)
{
	int r = veth_unplug(veth, bridge, err);

	return r == 0 ? veth_plug(veth, bridge, err) : r;
}

static int change(const char *veth, const char *bridge, bool is_plugged, struct error *err)
{
	auto_close int fd = FD_NONE;
	bool has_bridge = bridge != NULL && *bridge != '\0';
	int r = 0;

	if (veth == NULL || *veth == '\0')
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_errno(err, errno, "make a socket");
	if (has_bridge)
		r = change_bridge(fd, veth, bridge, is_plugged, err);
	if (r == 0 && (is_plugged || !has_bridge))
		r = change_flags(fd, veth, is_plugged, err);
	return r;
}

int veth_plug(const char *veth, const char *bridge, struct error *err)
{
	return change(veth, bridge, true, err);
}

int veth_unplug(const char *veth, const char *bridge, struct error *err)
{
	return change(veth, bridge, false, err);
}
