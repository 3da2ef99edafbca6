/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.netDevices: network devices of the host that become the container's, with their addresses.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

/* Names that no device can have, devices that are not there, and containers that share the host's network. */
int net_devices_check(const struct spec *spec, struct error *err);
/* Moves, renames, gives the addresses back that the kernel drops on the way, and raises the devices. When the container's network
 * namespace ends, the kernel returns physical devices to the host and deletes the others. */
int net_devices_move(const struct spec *spec, int namespace_fd, struct error *err);
