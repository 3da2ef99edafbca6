/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints on disk that are encrypted: all of one is a single file, made of a place in memory that is never swapped out, so that
 * nothing of it reaches the disk as it is.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

#define SEALED_FILE "checkpoint.sealed"

/* A folder in memory, <root>/.work/sealed-PID, of this process; the caller frees. */
int sealed_place_make(const char *root, char **ret_place, struct error *err);
/* With all that is in it. Accepts NULL. */
void sealed_place_remove(const char *place);
/* Nobody but a person removes it from now on. */
void sealed_place_keep(const char *place);

/* Can the key be read, and the file be written? Before anything is stopped for it. */
int sealed_check(const char *folder, const char *key_file, struct error *err);
/* What is in place and the layer (a folder called "upper") go into folder/checkpoint.sealed. may_change: the layer is being written to. */
int sealed_pack(const char *place, const char *layer, const char *folder, const char *key_file, bool may_change, struct error *err);
/* The reverse; upper is made as the layer. Everything has been found to be as it was when 0 is returned. */
int sealed_unpack(const char *folder, const char *key_file, const char *place, const char *upper, struct error *err);
