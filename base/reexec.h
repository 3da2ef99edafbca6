/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another binary in our place: same pid, same children, and those descriptors that lost CLOEXEC before.
 *
 * The state goes through a memfd. The binary that ran before stays reachable through a descriptor, also when its file
 * was replaced: a new one that refuses the state executes it again.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* What the three options say that a program takes for this. */
struct reexec_options {
	int sealed_fd;       /* --sealed-fd: the state; <= 0: an ordinary start */
	int previous_fd;     /* --previous-fd: the binary before */
	const char *refused; /* --refused: why the new binary did not take the state; NULL: it is new to us */
};

#define REEXEC_ENTRIES(structure, member)                                                                                        \
	{0, "sealed-fd", "FD", OPTION_INT, offsetof(structure, member.sealed_fd), "internal: state of the binary before"},      \
	{0, "previous-fd", "FD", OPTION_INT, offsetof(structure, member.previous_fd), "internal: the binary before"},           \
	{0, "refused", "TEXT", OPTION_STRING, offsetof(structure, member.refused), "internal: why another binary gave up"}

/* Whether path can be executed, as far as that can be seen before; absolute. */
int reexec_check(const char *path, struct error *err);
/* Executes path with argv (ends with NULL) and the options above, which come first. Returns only when that failed: -errno. */
int reexec(const char *path, const char *const *argv, const uint8_t *state, size_t size, struct error *err);
/* The state; *ret_state is the caller's to free. */
int reexec_read(const struct reexec_options *options, uint8_t **ret_state, size_t *ret_size, struct error *err);
/* We can't take the state: the binary before gets it back. Returns only when that failed, or when we are it. */
void reexec_refuse(const struct reexec_options *options, const char *const *argv, const char *reason);
/* It is taken: closes what belongs to the hand-over. */
void reexec_finish(const struct reexec_options *options);

/* Whether fd, accepted when FD_NONE, is there after the execve(). */
void reexec_keep(int fd);
void reexec_keep_not(int fd);
