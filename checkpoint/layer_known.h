/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which folder of this host has which digest: the store's layers by their names, others by a note below <store>/known, that is believed as
 * long as nothing in the folder has changed since, and where that can be seen (layer_digest.h). Elsewhere a note tells only what a folder had,
 * and is looked at again.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/layer_digest.h"

/* A folder that is a layer, as overlay sees it: without what is mounted on places in it. */
struct layer_folder {
	int root_fd;
	struct layer_list list;
	char digest[LAYER_DIGEST_SIZE];
};

#define LAYER_FOLDER_NONE ((struct layer_folder){.root_fd = -1})

/* store NULL: nothing is noted. turn may be NULL. */
int layer_folder_open(struct layer_folder *self, const char *store, const char *path, const struct layer_turn *turn, struct error *err);
void layer_folder_close(struct layer_folder *self);

/* A path of this host, outside of the store, that has this digest now; NULL: none is known. The caller frees. -errno of turn. */
int layer_known_find(const char *store, const char *digest, const struct layer_turn *turn, char **ret_path, struct error *err);
/* Whether path is a folder that has it; -errno of turn. */
int layer_has_digest(const char *store, const char *path, const char *digest, const struct layer_turn *turn, bool *ret_has, struct error *err);
