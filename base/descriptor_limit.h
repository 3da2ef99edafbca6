/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RLIMIT_NOFILE of programs that hold descriptors for many others.
 */
#pragma once

/* The soft limit becomes the hard one, for us and not for our children: what a container may open is not ours to change.
 * Returns it. */
unsigned descriptor_limit_raise(void);
/* As it was before; in a child, and before another binary takes our place. */
void descriptor_limit_restore(void);
/* Nothing came of that. */
void descriptor_limit_return(void);
/* Descriptors that are open now. */
unsigned descriptor_count(void);
