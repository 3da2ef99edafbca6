/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last stretch of a process inside the container: from the privileged runtime to the user's program.
 */
#pragma once

#include "base/error.h"
#include "runtime/seccomp_filter.h"
#include "runtime/spec.h"

#include <stdbool.h>

struct process_context {
	const struct spec_process *process;
	const struct seccomp_filter *seccomp; /* count 0: none */
	const char *keyring;                  /* name of a new session keyring, or NULL */
	const struct spec_personality *personality;
	const struct spec_memory_policy *memory_policy;
	bool keeps_groups;                    /* those of the caller, instead of process.user.additionalGids */
	int preserved_fds;                    /* how many from 3 on stay open */
	int listen_fds;                       /* of these, socket activation */
	int report_fd;                        /* where the seccomp listener goes, by sync_send */
	bool is_filtered;                     /* by process_enter_filter() */
	int apparmor_fd;                      /* set by process_open_labels() */
	int selinux_fd;
	char *program;                        /* found by process_prepare() */
	char **environment;
};

/* Opens where the labels will be written to, if there are any. Called by the process itself before it enters anything of the
 * container, whose /proc may be anything; always called. */
int process_open_labels(struct process_context *self, struct error *err);
/* Changes user, capabilities, folder and so on, and finds the program. What is left needs no privilege. */
int process_prepare(struct process_context *self, struct error *err);
/* Does not return unless it failed. */
int process_execute(struct process_context *self, struct error *err);
/* Earlier than process_execute() does, once the process has no_new_privs; else it is done already. */
int process_enter_filter(struct process_context *self, struct error *err);

/* Keeps those of the descriptors asked for that are open, at least one, and closes every other one from 3 on. */
int process_keep_fds(int preserved_fds, int *ret_listen_fds, struct error *err);
/* An unknown domain, or flags, of which none exist. */
int process_check_personality(const struct spec_personality *wanted, struct error *err);
/* Labels of modules that this kernel does not run, seen from the host: a container need not have a /sys. */
int process_check_labels(const struct spec_process *process, const char *mount_label, struct error *err);
/* oom_score_adj and resource limits, set from outside. */
int process_set_limits(const struct spec_process *process, pid_t pid, struct error *err);
