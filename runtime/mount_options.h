/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option words of a mount ("nosuid", "rbind", "rro", …) as flags, and its destination. Pure.
 */
#pragma once

#include "base/text.h"
#include "runtime/json_fields.h"

#include <stdbool.h>
#include <stdint.h>

struct mount_options {
	unsigned long flags;          /* MS_*, for mount(2) of a filesystem; MS_BIND and MS_REC for binds */
	uint64_t attributes_set;      /* MOUNT_ATTR_*, for bind mounts */
	uint64_t attributes_clear;
	uint64_t recursive_set;       /* MOUNT_ATTR_* for the whole tree: "rro" */
	uint64_t recursive_clear;
	unsigned long propagation;    /* MS_SHARED … with or without MS_REC; 0: leave */
	bool copies_up;               /* tmpcopyup */
	bool is_idmapped;
	bool is_idmapped_recursively;
	char data[4096];              /* what the filesystem itself understands, separated by commas */
};

/* -E2BIG when the words for the filesystem do not fit. */
int mount_options_parse(const struct json_strings *words, struct mount_options *ret_options);

/* All the words that have a meaning here, for `hydra features`; ends with NULL. */
const char *mount_options_word(size_t index);

/* Whether a destination is the folder of that name in the root, however it is written: "/proc", "/proc/", "/./proc". */
bool mount_is_at(const char *destination, const char *name);
