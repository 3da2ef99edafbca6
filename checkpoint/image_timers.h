/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A correction of CRIU's images. A periodic timerfd that has gone off and was not read yet has no time left, as the kernel tells it;
 * CRIU (up to 4.2.1) restores it with that, which disarms it for good. A program that is stopped while its timer goes off would
 * never hear of it again.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>

/* In the images of the folder: such timers go off at once. */
int image_timers_revive(int images_fd, struct error *err);
/* The same in a files.img that was read. Returns how many; what it does not understand it leaves alone. */
size_t image_timers_revive_in(unsigned char *data, size_t size);
