/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a tmpfs were written without their times telling it: through shared mappings. Who has one now, or has the file open
 * for writing, is found among the tasks; who closed it meanwhile was seen by fanotify.
 */
#pragma once

#include "checkpoint/layer.h"

#include <stdbool.h>
#include <sys/types.h>

struct carried_writes {
	struct carried_inode *inodes; /* open or mapped; sorted */
	size_t inode_count;
	struct carried_handle *handles; /* closed; sorted */
	size_t handle_count;
	bool is_any; /* it is not known which */
};

/* Watches whole file systems from now on; FD_NONE: it can't. */
int carried_watch_open(void);
/* False: this one can't be watched. */
bool carried_watch_add(int watch_fd, int root_fd);
/* The tasks stand still. */
void carried_writes_collect(struct carried_writes *self, int watch_fd, pid_t init);
bool carried_writes_has(const struct carried_writes *self, int root_fd, const struct layer_entry *entry);
void carried_writes_deinit(struct carried_writes *self);
