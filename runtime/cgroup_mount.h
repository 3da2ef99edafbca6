/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of type "cgroup": the container sees its own cgroups in the layout of the host.
 */
#pragma once

#include "base/error.h"
#include "runtime/mount_options.h"
#include "runtime/mounts.h"

int cgroup_mount_make(const struct mount_context *context, const struct spec_mount *mount,
		      const struct mount_options *options, struct error *err);
