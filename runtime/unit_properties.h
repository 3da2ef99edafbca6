/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What systemd is told about a container's unit. Limits are written to the cgroup by ourselves as well; systemd has to know them
 * because it writes what it knows again whenever it likes, as after `systemctl daemon-reload`. Pure.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"
#include "runtime/systemd_unit.h"
#include "runtime/unit_words.h"

#include <stdbool.h>

/* Everything but limits and the processes. mark is a URI, by which the unit is recognized as ours. */
void unit_properties_of_unit(const struct systemd_unit *unit, const char *id, const char *mark, bool is_unified, struct unit_words *words);

/* The limits of which systemd has a property. device_majors is the content of /proc/devices; with is_new also device rules that
 * are there without being asked for. */
int unit_properties_of_resources(const struct spec_resources *resources, const char *device_majors, bool is_unified, bool is_new,
				 struct unit_words *words, struct error *err);
