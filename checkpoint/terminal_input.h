/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was typed at a container's terminal and not read yet. CRIU does not save it. The kernel tells it only to who takes it away, so it is
 * given back at once: as if it were typed again (TIOCSTI), unseen and uninterpreted.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* The container stands still: copies it from the terminal of its init (standard input; none: nothing to do) into the open folder. -EBUSY: there
 * is more than a terminal holds. What was typed is still there in every case. */
int terminal_input_save(pid_t init, int images_fd, struct error *err);
/* Puts it into the terminal of which master_fd is the master, whose settings are restored already, before anybody reads from it. */
int terminal_input_feed(int images_fd, int master_fd, struct error *err);
