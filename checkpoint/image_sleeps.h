/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A correction of CRIU's images. A task that is stopped in nanosleep() has its system call interrupted; the kernel would go on with it by
 * a note of its own, which no image holds, so that CRIU (up to 4.2.1) lets it fail with EINTR. Programs that do not expect that sleep no
 * longer: `sleep 1000` would end with the migration. But the kernel has written how much is left to where the program wanted it; where that
 * is the place of the request itself, as sleep(3) and many programs have it, making the call again sleeps for exactly the rest.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* In the images of the folder: each such task makes its call again. */
int image_sleeps_resume(int images_fd, struct error *err);
/* The same in a core-N.img that was read; true: it was changed. What it does not understand it leaves alone. */
bool image_sleeps_resume_in(unsigned char *data, size_t size);
