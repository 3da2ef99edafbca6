/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which namespaces a process gets: made by the one clone3 that makes the process, joined by path, or kept.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum namespace_kind {
	NAMESPACE_USER, /* the order in which they are joined */
	NAMESPACE_PID,
	NAMESPACE_TIME,
	NAMESPACE_CGROUP,
	NAMESPACE_IPC,
	NAMESPACE_UTS,
	NAMESPACE_NETWORK,
	NAMESPACE_MOUNT,
	NAMESPACE_COUNT,
};

struct namespace_plan {
	bool is_new[NAMESPACE_COUNT];
	int fds[NAMESPACE_COUNT]; /* to join; FD_NONE: none */
	int own_pid_fd;           /* what namespaces_restore() goes back to */
	bool is_user_joined;      /* in the child: it was born there */
};

/* Names as in the specification and the flag of each, by kind. */
const char *namespace_name(enum namespace_kind kind);
uint64_t namespace_flag(enum namespace_kind kind);

/* None of all: what namespace_plan_deinit() accepts. */
void namespace_plan_clear(struct namespace_plan *self);
/* Opens the paths of linux.namespaces. */
int namespace_plan_init(struct namespace_plan *self, const struct spec *spec, struct error *err);
/* Paths that cannot be opened, or are something else than a namespace of their type. Keeps nothing. */
int namespace_plan_check(const struct spec *spec, struct error *err);
/* All namespaces of pid that are not already ours. */
int namespace_plan_of_process(struct namespace_plan *self, pid_t pid, struct error *err);
void namespace_plan_deinit(struct namespace_plan *self);
bool namespace_plan_has_user(const struct namespace_plan *self);

/* The child is born with the plan's new namespaces (except cgroup and time) and below the plan's pid namespace.
 * Returns 0 in the child, its pid in the caller; the child's parent is always the caller. */
pid_t namespace_plan_spawn(struct namespace_plan *self, int cgroup_fd, struct error *err);

/* In the child: joins the rest. */
int namespace_plan_join(const struct namespace_plan *self, struct error *err);
/* In the child: a time namespace that belongs to its user namespace. */
int namespace_plan_new_time(const struct namespace_plan *self, const struct spec *spec, struct error *err);
/* In the child, once it is in its cgroup. */
int namespace_plan_new_cgroup(const struct namespace_plan *self, struct error *err);
/* In the child: a new network namespace has its loopback device, but down. */
int namespace_plan_raise_loopback(const struct namespace_plan *self, struct error *err);
