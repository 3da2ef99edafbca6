/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RLIMIT_NOFILE: 1000 containers need some 6000 descriptors here. A monitor that ran out of them could serve nobody, so deposits
 * are refused before; whose are, runs on without anybody who could take over.
 */
#include "base/descriptor_limit.h"
#include "base/log.h"
#include "base/owned.h"
#include "monitor/monitor.h"

#include <fcntl.h>

#define KEPT_FREE_MAX 128

void limits_init(struct limits *self)
{
	unsigned max = descriptor_limit_raise();
	unsigned kept_free = max / 4 < KEPT_FREE_MAX ? max / 4 : KEPT_FREE_MAX;

	*self = (struct limits){.descriptors_max = max, .deposits_max_fd = max - kept_free};
}

/* The kernel gives the lowest number that is free: a high one means that there are as many. */
static bool is_low(const struct limits *self, int fd)
{
	return fd >= 0 && (unsigned) fd < self->deposits_max_fd;
}

bool limits_allow(struct limits *self, int *fd)
{
	int lower = is_low(self, *fd) ? FD_NONE : fcntl(*fd, F_DUPFD_CLOEXEC, 0);

	if (is_low(self, lower)) {
		(void) close(*fd);
		*fd = take_fd(&lower);
	}
	owned_fd_release(&lower);
	if ((unsigned) *fd > self->deposits_max_fd / 10 * 9 && !self->has_warned) {
		self->has_warned = true;
		log_warning("few descriptors are left for deposits", "open=%d limit=%u", *fd, self->descriptors_max);
	}
	return is_low(self, *fd);
}
