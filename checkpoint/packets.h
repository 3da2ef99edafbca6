/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to a container while it stands still: taken at this host's interfaces by its hardware address, carried along, and given to it
 * when it runs again, there or here. Without that it is lost, and a client whose last packet it was waits for its TCP to send it again,
 * 200 ms and more.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PACKET_SIZE_MAX  (65536U + 64U) /* with the kernel's head (struct virtio_net_hdr): checksums that are still to be made, segments */
#define PACKETS_KEPT_MAX (1U << 20)     /* bytes, until it runs */

/* A socket that hears every packet to mac ("02:42:0a:58:00:02") that comes in at an interface of this network namespace; read it with
 * packets_next(). mac NULL or "": *ret_fd is FD_NONE. */
int packets_listen(const char *mac, int *ret_fd, struct error *err);
/* The next one, with its head; 0: nothing now. */
ssize_t packets_next(int fd, void *room);

/* A socket to give packets to who is behind veth. */
int packets_open(const char *veth, int *ret_fd, struct error *err);
/* What can't be given is lost, as on any network. */
void packets_give(int fd, const void *packet, size_t size);

/* Packets that have to wait; what does not fit is lost. */
struct packet_store {
	unsigned char *data; /* u32 size, packet; and so on */
	size_t size;
};

void packet_store_add(struct packet_store *self, const void *packet, size_t size);
/* All of them in their order; then there are none. */
void packet_store_give(struct packet_store *self, int fd);
void packet_store_deinit(struct packet_store *self);
