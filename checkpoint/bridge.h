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
