/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugging the host's end of a container's veth pair into its bridge and out of it: our network lock.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* veth NULL or "": nothing to do, success. An end without a bridge is set up or down instead. Idempotent. */
int veth_plug(const char *veth, const char *bridge, struct error *err);
int veth_unplug(const char *veth, const char *bridge, struct error *err);
/* Nothing gets in any more, but what the container still says gets out: an answer that is lost between unplugging and
 * freezing is only repeated when the restored connection's first time-out, a whole second, is over. */
int veth_silence(const char *veth, const char *bridge, struct error *err);
/* After veth_silence() or veth_unplug(), or both. */
int veth_plug_again(const char *veth, const char *bridge, struct error *err);
