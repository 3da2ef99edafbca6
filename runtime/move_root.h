/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without pivot_root, for initramfs and other roots that cannot be pivoted away from.
 *
 * The host's mounts stay in the mount namespace, below the new root. A process that makes a user namespace may mount a proc of its own
 * only if there is one already that nothing covers: the host's would be such a one, so that nothing that the container's masked
 * paths hide would stay hidden. Hence the host's proc and sysfs are taken away first.
 */
#pragma once

#include "base/error.h"

/* The working directory, which is a mount, becomes the root. */
int move_root(struct error *err);
