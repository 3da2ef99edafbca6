/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container has not read yet of its standard input. CRIU saves it, but puts nothing into a pipe that it is given at a restore.
 */
#pragma once

#include "base/error.h"
#include "checkpoint.pb-c.h"

#include <sys/types.h>

/* The container stands still: copies what is in the pipe, which keeps it, into the open folder; notes in metadata whether more can
 * come, and writes metadata again when that is not as it was. */
int stdin_image_save(Hydra__V1__CheckpointMetadata *metadata, pid_t init, int images_fd, struct error *err);
/* Puts it into the pipe whose read end stdin_fd is, before anybody writes into it. */
int stdin_image_feed(int images_fd, int stdin_fd, struct error *err);
