/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/net_devices.h"

#include "base/owned.h"
#include "base/text.h"
#include "runtime/netlink.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ADDRESSES_MAX 64
#define VALUE_SIZE    16

/* What an address is told by besides its family; the label is left out, it begins with the old name. */
static const int kept_attributes[] = {IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS};
#define KEPT_COUNT (sizeof(kept_attributes) / sizeof(kept_attributes[0]))

struct address {
	struct ifaddrmsg fixed;
	struct {
		size_t size; /* 0: not there */
		char data[VALUE_SIZE];
	} values[KEPT_COUNT];
};

struct addresses {
	unsigned int device;
	size_t count;
	struct address items[ADDRESSES_MAX];
};

static const char *inner_name(const struct spec_net_device *device)
{
	return device->name != NULL && device->name[0] != '\0' ? device->name : device->host_name;
}

static bool is_device_name(const char *name)
{
	return name[0] != '\0' && strlen(name) < IFNAMSIZ && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strcmp(name, "lo") != 0 && strpbrk(name, "/: \t\n%") == NULL;
}

static int check_device(const struct spec_linux *part, size_t index, struct error *err)
{
	const struct spec_net_device *device = &part->net_devices.items[index];

	if (!is_device_name(device->host_name))
		return fail_because(err, EINVAL, "linux.netDevices.%.40s: not the name of a device that can be moved", device->host_name);
	if (!is_device_name(inner_name(device)))
		return fail_because(err, EINVAL, "linux.netDevices.%s.name: '%.40s' cannot be the name of a device", device->host_name,
				    inner_name(device));
	for (size_t i = 0; i < index; i++)
		if (strcmp(inner_name(&part->net_devices.items[i]), inner_name(device)) == 0)
			return fail_because(err, EINVAL, "linux.netDevices.%s.name: '%s' is there twice", device->host_name,
					    inner_name(device));
	if (if_nametoindex(device->host_name) == 0)
		return fail_errno(err, errno, "linux.netDevices.%s: find the device", device->host_name);
	return 0;
}

int net_devices_check(const struct spec *spec, struct error *err)
{
	const struct spec_linux *part = &spec->linux_part;

	if (part->net_devices.count > 0 && spec_find_namespace(spec, "network") == NULL)
		return fail_because(err, EINVAL, "linux.netDevices: unable to move network devices without a NET namespace of its own");
	for (size_t i = 0; i < part->net_devices.count; i++)
		if (check_device(part, i, err) < 0)
			return err->code;
	return 0;
}

static void keep_attribute(struct address *address, const struct rtattr *attribute)
{
	for (size_t i = 0; i < KEPT_COUNT; i++) {
		if (attribute->rta_type != kept_attributes[i] || RTA_PAYLOAD(attribute) > VALUE_SIZE)
			continue;
		address->values[i].size = RTA_PAYLOAD(attribute);
		memcpy(address->values[i].data, RTA_DATA(attribute), RTA_PAYLOAD(attribute));
	}
}

/* Addresses of the link alone (fe80::) come by themselves when the device is raised. */
static int take_address(void *context, const struct nlmsghdr *message)
{
	struct addresses *self = context;
	const struct ifaddrmsg *fixed = NLMSG_DATA(message);
	struct address address = {.fixed = *fixed};
	unsigned int left = (unsigned int) IFA_PAYLOAD(message);

	if (message->nlmsg_type != RTM_NEWADDR || fixed->ifa_index != self->device || fixed->ifa_scope == RT_SCOPE_LINK)
		return 0;
	if (self->count == ADDRESSES_MAX)
		return -E2BIG;
	for (const struct rtattr *at = IFA_RTA(fixed); RTA_OK(at, left); at = RTA_NEXT(at, left))
		keep_attribute(&address, at);
	self->items[self->count++] = address;
	return 0;
}

static int list_addresses(int fd, unsigned int device, struct addresses *ret_addresses)
{
	const struct ifaddrmsg any = {.ifa_family = AF_UNSPEC};
	struct netlink_request request;

	ret_addresses->device = device;
	ret_addresses->count = 0;
	netlink_request_init(&request, RTM_GETADDR, 0, &any, sizeof(any));
	return netlink_dump(fd, &request, take_address, ret_addresses);
}

static int add_address(int fd, const struct address *address, unsigned int device)
{
	struct ifaddrmsg fixed = address->fixed;
	struct netlink_request request;

	fixed.ifa_index = device;
	netlink_request_init(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &fixed, sizeof(fixed));
	for (size_t i = 0; i < KEPT_COUNT; i++)
		if (address->values[i].size > 0)
			netlink_request_add(&request, kept_attributes[i], address->values[i].data, address->values[i].size);
	return netlink_do(fd, &request);
}

static int move_link(int fd, unsigned int device, const char *name, int namespace_fd)
{
	const struct ifinfomsg fixed = {.ifi_family = AF_UNSPEC, .ifi_index = (int) device, .ifi_change = IFF_UP};
	struct netlink_request request;

	netlink_request_init(&request, RTM_NEWLINK, 0, &fixed, sizeof(fixed));
	netlink_request_add(&request, IFLA_NET_NS_FD, &namespace_fd, sizeof(namespace_fd));
	netlink_request_add(&request, IFLA_IFNAME, name, strlen(name) + 1);
	return netlink_do(fd, &request);
}

static int raise_link(int fd, unsigned int device)
{
	const struct ifinfomsg fixed = {.ifi_family = AF_UNSPEC, .ifi_index = (int) device, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct netlink_request request;

	netlink_request_init(&request, RTM_NEWLINK, 0, &fixed, sizeof(fixed));
	return netlink_do(fd, &request);
}

/* The number of a device is another one in another namespace when it is taken there. */
static int settle(int fd, const char *name, const struct addresses *addresses, struct error *err)
{
	struct ifreq request = {0};
	unsigned int device;
	int r = 0;

	(void) text_fit(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return fail_errno(err, errno, "find device %s in the container", name);
	device = (unsigned int) request.ifr_ifindex;
	/* raised first: without a link-local address there would be none of IPv6 at all */
	r = raise_link(fd, device);
	for (size_t i = 0; r == 0 && i < addresses->count; i++)
		r = add_address(fd, &addresses->items[i], device);
	return r < 0 ? fail_errno(err, -r, "set up device %s in the container", name) : 0;
}

static int move_device(const struct spec_net_device *device, int own_fd, int inner_fd, int namespace_fd, struct error *err)
{
	unsigned int index = if_nametoindex(device->host_name);
	struct addresses addresses;
	int r = index == 0 ? -errno : list_addresses(own_fd, index, &addresses);

	if (r == 0)
		r = move_link(own_fd, index, inner_name(device), namespace_fd);
	if (r < 0)
		return fail_errno(err, -r, "move the device to the container as %s", inner_name(device));
	return settle(inner_fd, inner_name(device), &addresses, err);
}

int net_devices_move(const struct spec *spec, int namespace_fd, struct error *err)
{
	auto_close int own_fd = FD_NONE;
	auto_close int inner_fd = FD_NONE;

	if (netlink_open(FD_NONE, &own_fd, err) < 0 || netlink_open(namespace_fd, &inner_fd, err) < 0)
		return fail_while(err, "linux.netDevices");
	for (size_t i = 0; i < spec->linux_part.net_devices.count; i++) {
		const struct spec_net_device *device = &spec->linux_part.net_devices.items[i];

		if (move_device(device, own_fd, inner_fd, namespace_fd, err) < 0)
			return fail_while(err, "linux.netDevices.%s", device->host_name);
	}
	return 0;
}
