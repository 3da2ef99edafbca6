/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of /proc that are written to, with the certainty that they are what their path says: something else that is
 * mounted or linked there would take the text, and nobody would notice that it had no effect (CVE-2019-16884,
 * CVE-2019-19921) or another one (CVE-2025-52881).
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

enum procfs_mounts {
	PROCFS_NO_MOUNTS,  /* nothing may be mounted on the way */
	PROCFS_OWN_MOUNTS, /* parts of the same procfs may: outer runtimes bind /proc/sys onto itself */
};

/* Opens path, relative to /proc, for writing. */
int procfs_open(const char *path, enum procfs_mounts mounts, int *ret_fd, struct error *err);
/* One write(2). */
int procfs_write(int fd, const char *text, struct error *err);
/* The descriptor's file system is procfs. */
bool procfs_has(int fd);
