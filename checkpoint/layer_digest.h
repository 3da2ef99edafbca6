/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest of a tree: SHA-256 of its canonical form, which depends on what is in it alone, and not on the file system it is in.
 *
 * It begins with "hydra layer 1\n". Then come its entries, sorted by their paths as bytes, the tree itself first; numbers have 8 bytes, little
 * endian, and byte strings their length before them:
 *
 *   kind (enum LayerEntryKind), path
 *   a further name of a file:  the first path of it; nothing else
 *   all others:  mode without the kind, uid, gid, seconds and nanoseconds of the last change, target of a link ("" for others), major and minor
 *                number (0 for others), count of extended attributes, and of each name and value, sorted by name, without overlay's own
 *   files:       size; each block of 4096 bytes that is not all zero, the last one as short as it is: its number + 1, its bytes; then 0
 *
 * Sockets are left out, as they are when a layer is sent (checkpoint/layer.h).
 */
#pragma once

#include "base/error.h"
#include "checkpoint/layer.h"
#include "state/layer_store.h"

#include <stdbool.h>

/* Is asked again and again meanwhile, as it may take long; < 0 ends it. */
struct layer_turn {
	int (*turn)(void *context, struct error *err);
	void *context;
};

/* Of the tree, which list is of. settles: what was written to the files by mappings gets to the disk first, so that what is written later
 * shows in their times. turn may be NULL. */
int layer_digest(int root_fd, const struct layer_list *list, bool settles, const struct layer_turn *turn, char ret_digest[LAYER_DIGEST_SIZE],
		 struct error *err);

/* What can be seen of the tree without reading its files; with it unchanged the tree is, where layer_times_tell(). */
void layer_fingerprint(const struct layer_list *list, char ret_fingerprint[LAYER_DIGEST_SIZE]);
/* Of the file system: each change of a file that is on the disk, also through a mapping, changes its ctime. */
bool layer_times_tell(int root_fd);
/* Some entry changed so shortly before it was listed, that another change might not show. */
bool layer_is_racy(const struct layer_list *list);
/* SHA-256 in hexadecimal. */
void layer_sum(const void *data, size_t size, char ret_sum[LAYER_DIGEST_SIZE]);
