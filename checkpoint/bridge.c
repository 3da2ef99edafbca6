/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/bridge.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>

#include "base/owned.h"
#include "base/text.h"

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
