/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes that come with a container: what was made for them at the target goes again when the container does not come. Who makes one notes it before,
 * in the folder of the migration: whoever is killed, the next one finds the note.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* A folder with nothing in it but what mkfs(8) makes: a fresh disk may be mounted there. */
bool volumes_made_is_free(const char *path);
/* Makes the folder path, with those above it, or takes it when it is empty. */
int volumes_made_add(const char *work, const char *path, struct error *err);
/* The container is here, and they are its own. */
void volumes_made_keep(const char *work);
/* Removes them, unless the container ran here: then somebody has left his word (RECORD_FATE_FILE). */
void volumes_made_undo(const char *work);
