/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small file beside CRIU's images ("hydra.meta") that makes a restore need no guesses.
 */
#pragma once

#include "base/error.h"
#include "checkpoint.pb-c.h"
#include "checkpoint/criu_find.h"

#include <stddef.h>
#include <sys/types.h>

#define METADATA_FILE    "hydra.meta"
#define METADATA_VERSION 1
#define METADATA_MAX     (1U << 20)

/* Looks at a running container; nothing is stopped. Free with hydra__v1__checkpoint_metadata__free_unpacked. */
int metadata_collect(Hydra__V1__CheckpointMetadata **ret_metadata, const char *id, pid_t init,
		     const struct criu *criu, struct error *err);
int metadata_write(const Hydra__V1__CheckpointMetadata *self, int dir_fd, struct error *err);
int metadata_read(Hydra__V1__CheckpointMetadata **ret_metadata, int dir_fd, struct error *err);
int metadata_unpack(Hydra__V1__CheckpointMetadata **ret_metadata, const void *data, size_t size, struct error *err);
