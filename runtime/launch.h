/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a container: everything that `create` and `run` (and, for the process, `exec`) do outside of it.
 */
#pragma once

#include "base/error.h"
#include "runtime/container.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <sys/types.h>

struct launch_options {
	const char *root;
	const char *id;
	const char *bundle;
	const char *config; /* file name; NULL: config.json of the bundle */
	const char *console_socket;
	const char *pidfd_socket;
	const char *pid_file;
	int preserved_fds;
	int listen_fds; /* from process_keep_fds() */
	bool without_pivot;
	bool keeps_keyring;
	bool has_cgroups;     /* false: --cgroup-manager disabled */
	bool uses_systemd;    /* --cgroup-manager systemd */
	bool starts_at_once;  /* run */
	bool is_detached;
};

struct launched {
	struct container container;
	struct spec spec;
	pid_t pid;
	int sync_fd;     /* starts_at_once: tells about a failed exec, and by its end about a successful one */
	int terminal_fd; /* foreground terminal, or FD_NONE */
	int notify_fd;   /* starts_at_once: of notify_socket_open() */
};

/* On failure nothing is left behind. On success the container is created (or its program is about to be executed). */
int launch_container(const struct launch_options *options, struct launched *ret_launched, struct error *err);
void launched_deinit(struct launched *self);

/* Undoes what is there: kills, removes cgroups and folder, runs the poststop hooks. */
int launch_destroy(struct container *container, const spec_hook_list *poststop, struct error *err);

/* Shared with exec. */
int launch_connect_console(const struct spec_process *process, const char *console_socket, bool is_detached,
			   int *ret_socket_fd, int *ret_own_end_fd, struct error *err);
int launch_send_seccomp(int sync_fd, const struct spec_seccomp *seccomp, struct error *err);
int launch_forward_listener(const struct spec *spec, const struct container_state *state,
			    enum container_status status, pid_t pid, int listener_fd, struct error *err);
int launch_write_pid_file(const char *path, pid_t pid, struct error *err);
int launch_send_pidfd(const char *socket_path, pid_t pid, const char *kind, struct error *err);
