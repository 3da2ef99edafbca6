/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's terminal: opened in its own devpts, handed to whoever listens on the console socket.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>

/* Opens a terminal below root_fd ("/" of an entered container works as well), sends its master through socket_fd and
 * returns the slave, owned by uid. */
int console_open(int root_fd, int socket_fd, const struct spec_process *process, int *ret_slave_fd, struct error *err);
/* Shows the slave as /dev/console. */
int console_bind(int root_fd, int slave_fd, struct error *err);
/* Makes it the controlling terminal and stdin, stdout, stderr; the process must lead its session. */
int console_adopt(int slave_fd, struct error *err);

/* The parent's side of a foreground terminal. */
int console_receive(int socket_fd, int *ret_master_fd, struct error *err);
