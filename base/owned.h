/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource ownership.
 *
 * A variable marked auto_* owns what it holds and releases it when the scope
 * ends. Hand ownership on with take_fd() or take_ptr(); nothing else may.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define auto_close __attribute__((cleanup(owned_fd_release)))
#define auto_free  __attribute__((cleanup(owned_memory_release)))

#define FD_NONE (-1)

static inline void owned_fd_release(int *fd)
{
	if (*fd >= 0)
		(void) close(*fd);
}

static inline void owned_memory_release(void *pointer)
{
	free(*(void **) pointer);
}

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = FD_NONE;
	return taken;
}

#define take_ptr(pointer)                                                                          \
	__extension__({                                                                            \
		__typeof__(*(pointer)) taken_ = *(pointer);                                        \
		*(pointer) = NULL;                                                                 \
		taken_;                                                                            \
	})
