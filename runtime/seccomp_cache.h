/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled seccomp filters. Compiling what podman or containerd ask for takes longer than all the rest of a container's start, and each `exec` needs
 * it again.
 *
 * A filter is a file below /run/hydra (without privileges: $XDG_RUNTIME_DIR/hydra), which no container can write unless the administrator lets it
 * write the state of all containers, too. The file has all that the filter was compiled from in front: it counts only when that is the same to the
 * byte, so neither an accident nor a profile made for the purpose can get another one's filter.
 */
#pragma once

#include "base/error.h"
#include "runtime/seccomp_filter.h"
#include "runtime/spec.h"

/* From the cache, or compiled and cached. Without a cache it is compiled: that is no error. */
int seccomp_cache_get(const struct spec_seccomp *seccomp, struct seccomp_filter *ret_filter, struct error *err);

/* What the filter depends on, as bytes: different for whatever makes another filter. For the test, too. */
void seccomp_cache_key(const struct spec_seccomp *seccomp, char **ret_key, size_t *ret_size);
