/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of containers that are no more: a host that was restarted has no containers, but their writable layers and logs are on its disk.
 * Nobody who makes one of the same name may find them in it. They are kept in <data>/.left until hydractl prune.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* Whoever calls it holds the name (run_dir_create(), or nobody can make it). What is at its place below data goes to <data>/.left; nothing
 * there: nothing to do. -EBUSY: something of it is mounted, for a container of another root folder. */
int left_data_set_aside(const char *data, const char *namespace, const char *id, struct error *err);

/* name: "NAMESPACE.ID" and perhaps when it was set aside. */
typedef void left_data_visitor(const char *name, const char *path, void *context);
/* Calls visit for what was set aside, and what no container of root has and nobody has mounted; the latter is set aside before, unless it
 * only_looks. */
int left_data_visit(const char *data, const char *root, bool only_looks, left_data_visitor *visit, void *context, struct error *err);
