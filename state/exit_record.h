/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process of a container ended. Written durably before the process is reaped; never invented.
 */
#pragma once

#include "base/error.h"
#include "container.pb-c.h"

#define EXIT_RECORD_VERSION 1

typedef Hydra__V1__ExitRecord exit_record;

/* exec_id "" is init. -ENOENT: it has not ended, or nobody saw it end; -EPROTO: not an exit record, or of a version this
 * program does not know. Free with message_free(). */
int exit_record_load(int dir_fd, const char *exec_id, exit_record **ret_record, struct error *err);
int exit_record_save(int dir_fd, const exit_record *self, struct error *err);
/* Before a restart: the old end is no longer true. */
void exit_record_forget(int dir_fd, const char *exec_id);

/* Fills is_known, exit_code and signal from a wait(2) status. */
void exit_record_set_status(exit_record *self, int wait_status);
