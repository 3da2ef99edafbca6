/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of images that came from other hosts, below <data>/.layers (the store):
 *
 *   sha256/DIGEST      complete, and never changed any more; the name is the digest of what is in it
 *   incoming/NAME      not complete yet; who is at work on it has it locked, and without a lock it is rubbish
 *   known/             which paths of this host have which digest (checkpoint/layer_known.h)
 *
 * A layer is locked (flock(2), shared) by who is about to use it, until the container's record names it: nobody else removes it then.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

#define LAYER_DIGEST_SIZE 65 /* SHA-256 in hexadecimal, and a NUL */

/* These are the caller's to free. */
char *layer_store_root(const char *data);
char *layer_store_path(const char *store, const char *digest);

bool layer_digest_is_valid(const char *digest);
/* The digest in the path of a layer of the store; NULL: it is another path. Points into path. */
const char *layer_store_digest(const char *store, const char *path);

/* Nobody removes it as long as *ret_fd, the caller's, is open. -ENOENT: it is not there. */
int layer_store_hold(const char *path, int *ret_fd, struct error *err);
/* A new folder for what comes, locked as long as *ret_fd is open. */
int layer_store_begin(const char *store, const char *name, int *ret_fd, struct error *err);
/* It is complete: durable and in its place when this returns 0; held by *fd from then on. Somebody else's that came meanwhile is as good. */
int layer_store_keep(const char *store, const char *name, const char *digest, int *fd, struct error *err);
/* What layer_store_begin() made, with all that is in it. */
void layer_store_drop(const char *store, const char *name);
/* What was incomplete when its maker died, and what was about to be removed. */
void layer_store_sweep(const char *store);

/* The layers of the store, sorted; the caller frees each and the array. */
int layer_store_list(const char *store, char ***ret_digests, size_t *ret_count, struct error *err);
/* -EBUSY: somebody holds it, or is_used says so, which is asked while nobody else can begin to use it. */
int layer_store_remove(const char *store, const char *digest, int (*is_used)(void *context, const char *path, struct error *err), void *context,
		       struct error *err);
