/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.seccomp: compiled to a BPF program by the parent while the container's init is busy with its mounts,
 * installed by the process that it is for.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <linux/filter.h>
#include <stdint.h>

#define SECCOMP_INSTRUCTIONS_MAX 4096

struct seccomp_filter {
	struct sock_filter *instructions; /* owned */
	size_t count;
	uint32_t flags; /* SECCOMP_FILTER_FLAG_* */
};

/* Unknown words, arguments there are not, and notifications that nobody could receive. NULL is fine. */
int seccomp_check(const struct spec_seccomp *seccomp, struct error *err);
/* Checks, and sets what of a filter is no program: its flags. */
int seccomp_begin(struct seccomp_filter *self, const struct spec_seccomp *seccomp, struct error *err);
/* Adds the program to one that was begun: takes milliseconds, see seccomp_cache.h. */
int seccomp_compile(struct seccomp_filter *self, const struct spec_seccomp *seccomp, struct error *err);
void seccomp_filter_deinit(struct seccomp_filter *self);

/* *ret_listener_fd: the notification descriptor when the filter asks for one, else FD_NONE. */
int seccomp_install(const struct seccomp_filter *self, int *ret_listener_fd, struct error *err);

/* Tables for `hydra features`; end with NULL. */
extern const char *const seccomp_action_names[];
extern const char *const seccomp_operator_names[];
extern const char *const seccomp_architecture_names[];
extern const char *const seccomp_flag_names[];
