/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRIU reads some images when it is the root of the container's user namespace already, and others on the way there, when it is our user
 * without his rights: for so long they belong to the one, and our group may read them. A migration's images have a folder of their own and
 * modes that let everybody read; those of a checkpoint are the administrator's, and stay unreadable for others.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* The images in the folder, and the folder; not those that they continue (parent), which is a link to anywhere. */
int image_owner_share(int images_fd, uid_t owner, struct error *err);
/* Ours alone again. */
int image_owner_restore(int images_fd, struct error *err);
