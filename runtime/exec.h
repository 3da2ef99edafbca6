/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another process in a container that exists.
 */
#pragma once

#include "base/error.h"
#include "runtime/container.h"

#include <stdbool.h>

struct exec_options {
	const char *console_socket;
	const char *pidfd_socket;
	const char *pid_file;
	const char *wait_fifo; /* the program is not executed before somebody opens this for reading */
	const char *const *cgroups; /* "PATH" or "CONTROLLERS:PATH" below the container's; NULL-terminated or NULL */
	int preserved_fds;
	int listen_fds; /* from process_keep_fds() */
	bool is_detached;
};

/* Starts process in the container; returns when its program is being executed. */
int exec_process(const struct exec_options *options, const struct container *container, const struct spec *spec,
		 const struct spec_process *process, pid_t *ret_pid, int *ret_terminal_fd, struct error *err);
