/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/send.h"

#include <fcntl.h>

#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/announce.h"
#include "checkpoint/packets.h"

static void close_packets(struct sender_state *self)
{
	owned_fd_release(&self->packets_fd);
	self->packets_fd = FD_NONE;
}

int send_packets(struct sender_state *self, struct error *err)
{
	static unsigned char room[PACKET_SIZE_MAX];
	bool is_understood = (self->target_capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_PACKETS) != 0;
	ssize_t size;
	int r = 0;

	while (r == 0 && (size = packets_next(self->packets_fd, room)) > 0) {
		if (is_understood && link_queued(&self->session.link) < PACKETS_KEPT_MAX)
			r = link_queue(&self->session.link, FRAME_PACKET, room, (size_t) size, err);
	}
	if (self->is_running_there) /* who speaks to it finds it there */
		close_packets(self);
	return r;
}

void send_announce(int pid, const char *veth)
{
	auto_free char *path = text_format("/proc/%d/ns/net", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && veth != NULL && veth[0] != '\0')
		announce_addresses(fd);
}

void send_give_packets_back(struct sender_state *self)
{
	static unsigned char room[PACKET_SIZE_MAX];
	auto_close int fd = FD_NONE;
	struct error err;
	ssize_t size;

	send_announce(self->spec->pid, self->spec->veth);
	if (self->packets_fd < 0)
		return;
	if (packets_open(self->spec->veth, &fd, &err) < 0)
		log_warning("packets lost", "container=%s reason=\"%s\"", self->spec->id, err.message);
	while (fd >= 0 && (size = packets_next(self->packets_fd, room)) > 0)
		packets_give(fd, room, (size_t) size);
	close_packets(self);
}
