/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/packets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "base/owned.h"

#define BUFFER_BYTES (4 << 20)

static int parse_address(const char *mac, uint8_t address[static ETH_ALEN], struct error *err)
{
	unsigned bytes[ETH_ALEN];

	if (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5]) != ETH_ALEN)
		return fail_because(err, EINVAL, "'%s' is no hardware address", mac);
	for (size_t i = 0; i < ETH_ALEN; i++)
		address[i] = (uint8_t) bytes[i];
	return 0;
}

/* To the address, and nothing that this host sends. */
static int filter(int fd, const uint8_t address[static ETH_ALEN])
{
	uint32_t high = (uint32_t) address[0] << 24 | (uint32_t) address[1] << 16 | (uint32_t) address[2] << 8 | address[3];
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) address[4] << 8 | address[5], 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
	int yes = 1, size = BUFFER_BYTES;

	(void) setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof(yes)) < 0)
		return -errno;
	return 0;
}

int packets_listen(const char *mac, int *ret_fd, struct error *err)
{
	struct sockaddr_ll every = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	uint8_t address[ETH_ALEN];
	auto_close int fd = FD_NONE;
	int r;

	*ret_fd = FD_NONE;
	if (mac == NULL || mac[0] == '\0')
		return 0;
	r = parse_address(mac, address, err);
	if (r < 0)
		return r;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* hears nothing until it is bound */
	r = fd < 0 ? -errno : filter(fd, address);
	if (r == 0 && bind(fd, (struct sockaddr *) &every, sizeof(every)) < 0)
		r = -errno;
	if (r < 0)
		return fail_errno(err, -r, "listen to what is said to '%s'", mac);
	*ret_fd = take_fd(&fd);
	return 0;
}

ssize_t packets_next(int fd, void *room)
{
	ssize_t got = fd < 0 ? 0 : recv(fd, room, PACKET_SIZE_MAX, MSG_TRUNC);

	return got > 0 && got <= (ssize_t) PACKET_SIZE_MAX ? got : 0;
}

int packets_open(const char *veth, int *ret_fd, struct error *err)
{
	struct sockaddr_ll there = {.sll_family = AF_PACKET, .sll_ifindex = (int) if_nametoindex(veth)};
	auto_close int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int yes = 1;

	if (there.sll_ifindex == 0)
		return fail_errno(err, errno, "look for interface '%s'", veth);
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (struct sockaddr *) &there, sizeof(there)) < 0)
		return fail_errno(err, errno, "give packets to '%s'", veth);
	*ret_fd = take_fd(&fd);
	return 0;
}

void packets_give(int fd, const void *packet, size_t size)
{
	(void) !send(fd, packet, size, MSG_DONTWAIT);
}

void packet_store_add(struct packet_store *self, const void *packet, size_t size)
{
	uint32_t length = (uint32_t) size;
	unsigned char *grown;

	if (size > PACKET_SIZE_MAX || self->size + sizeof(length) + size > PACKETS_KEPT_MAX)
		return;
	grown = realloc(self->data, self->size + sizeof(length) + size);
	if (grown == NULL)
		return;
	memcpy(grown + self->size, &length, sizeof(length));
	memcpy(grown + self->size + sizeof(length), packet, size);
	self->data = grown;
	self->size += sizeof(length) + size;
}

void packet_store_give(struct packet_store *self, int fd)
{
	uint32_t length;

	for (size_t at = 0; fd >= 0 && at < self->size; at += sizeof(length) + length) {
		memcpy(&length, self->data + at, sizeof(length));
		packets_give(fd, self->data + at + sizeof(length), length);
	}
	packet_store_deinit(self);
}

void packet_store_deinit(struct packet_store *self)
{
	free(self->data);
	*self = (struct packet_store){0};
}
