/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a container back: from disk, or as the target's half of a migration.
 * Runs as a child of the shim; the restored init becomes the shim's child when this process ends
 * (which is the subreaper), so it must end only when the restore is complete.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"
#include "checkpoint/criu_find.h"

#include <stdbool.h>
#include <sys/types.h>

#define RESTORE_LOG "restore.log"

struct restore_spec {
	const struct criu *criu;
	const char *images;
	const char *root;              /* the root file system; mounted already, unless overlay is given */
	const char *overlay;           /* mount options: mounted at root when the images (and the layer) are complete */
	int net_namespace_fd;          /* <= 0: ours */
	const char *const *cgroup_dirs;
	int stdio[3];                  /* FD_NONE: what the container had */
	int console_socket_fd;         /* receives the new terminal master; FD_NONE: none wanted */
	const struct string_list *mounts; /* "MOUNTPOINT=PATH" overrides */
	bool is_lazy;
	const char *handoff;           /* path of handoff.sock; NULL: nobody votes */
	int keeper_fd;                 /* socket that receives a duplicate of every userfaultfd; FD_NONE */
	const char *veth, *bridge;     /* plugged right before the tasks run */
	bool closes_tcp;               /* established connections come back as closed ones */
	const char *lsm_profile;       /* "apparmor:NAME", "selinux:CONTEXT"; NULL: what it had */
	const char *lsm_mount_context; /* NULL: what they had */
};

int restore_run(const struct restore_spec *spec, pid_t *ret_init, struct error *err);
