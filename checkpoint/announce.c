/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/announce.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/text.h"

struct announcement {
	struct ether_header ethernet;
	struct ether_arp arp;
} __attribute__((packed));

/* A gratuitous ARP request, as RFC 5227 recommends. */
static void announce_address(const char *interface, const struct in_addr *address)
{
	auto_close int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_ARP));
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int) if_nametoindex(interface), .sll_halen = ETH_ALEN};
	struct announcement frame = {.ethernet.ether_type = htons(ETHERTYPE_ARP),
				     .arp.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETHERTYPE_IP), .ar_hln = ETH_ALEN,
						    .ar_pln = 4, .ar_op = htons(ARPOP_REQUEST)}};
	struct ifreq request = {0};

	if (fd < 0 || !text_fit(request.ifr_name, sizeof(request.ifr_name), "%s", interface) || ioctl(fd, SIOCGIFHWADDR, &request) < 0 || request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return;
	memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.ethernet.ether_shost, request.ifr_hwaddr.sa_data, ETH_ALEN);
	memcpy(frame.arp.arp_sha, request.ifr_hwaddr.sa_data, ETH_ALEN);
	memcpy(frame.arp.arp_spa, address, 4);
	memcpy(frame.arp.arp_tpa, address, 4);
	memset(to.sll_addr, 0xff, ETH_ALEN);
	(void) sendto(fd, &frame, sizeof(frame), 0, (struct sockaddr *) &to, sizeof(to));
}

static void announce_all(void)
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
		if (entry->ifa_addr != NULL && entry->ifa_addr->sa_family == AF_INET && (entry->ifa_flags & IFF_LOOPBACK) == 0)
			announce_address(entry->ifa_name, &((struct sockaddr_in *) (void *) entry->ifa_addr)->sin_addr);
	}
	freeifaddrs(list);
}

void announce_addresses(int net_namespace_fd)
{
	if (net_namespace_fd < 0 || fork() != 0)
		return;
	if (setns(net_namespace_fd, CLONE_NEWNET) == 0)
		announce_all();
	_exit(0);
}
