/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ids of a new user namespace. Who may not give others away is helped by newuidmap and newgidmap, which go by
 * /etc/subuid and /etc/subgid.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <sys/types.h>

/* A new user namespace without any mappings has process.user, who is then the caller, and nobody else. */
void user_map_complete(struct spec *spec);

/* What of the configuration cannot be had by who we are, before anything is made: the namespace itself, its ranges, users
 * and groups that are not among them. */
int user_map_check(const struct spec *spec, struct error *err);

/* Writes uid_map, gid_map (and setgroups, when only we ourselves are mapped) of the process. */
int user_map_write(pid_t pid, const spec_id_mapping_list *uids, const spec_id_mapping_list *gids, struct error *err);
