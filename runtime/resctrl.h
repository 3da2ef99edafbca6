/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.intelRdt: the class of service that the container's threads belong to, and their monitoring group; both are folders of the
 * resctrl file system (Documentation/filesystems/resctrl.rst of the kernel). Where rdt is NULL or a folder NULL or "" nothing is done.
 *
 * The class is closID's, "/" being the one that everything is in, or else the container's own, named like it. Monitoring has a group
 * named like the container.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <sys/types.h>

bool resctrl_is_mounted(void);
/* Refuses what this machine cannot do, and classes that are not there or are not as asked for. Changes nothing. */
int resctrl_check(const struct spec_intel_rdt *rdt, struct error *err);
/* Folders, relative to the mount point; "": none. The caller frees. The group's `tasks` says who belongs to the container; its own
 * folder is what resctrl_make() makes for it alone, and resctrl_remove() removes. */
char *resctrl_group(const struct spec_intel_rdt *rdt, const char *id);
char *resctrl_own_folder(const struct spec_intel_rdt *rdt, const char *id);
int resctrl_make(const struct spec_intel_rdt *rdt, const char *id, struct error *err);
/* Takes all threads of these processes in; what they start afterwards is where they are, what they start meanwhile may be missed. Processes
 * that have gone do not count. */
int resctrl_join(const char *group, const pid_t *pids, size_t count, struct error *err);
/* Writes the schemata of rdt to a class that is there. */
int resctrl_set(const struct spec_intel_rdt *rdt, const char *id, struct error *err);
/* One that is not there is success. */
int resctrl_remove(const char *folder, struct error *err);
