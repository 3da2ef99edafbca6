/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a container back from what `checkpoint` wrote, and the calls of the program hydra-checkpoint.
 */
#pragma once

#include "base/error.h"
#include "runtime/container.h"

#include <stdbool.h>
#include <stddef.h>

#define CHECKPOINT_ARGUMENTS_MAX 128

struct checkpoint_call {
	const char *arguments[CHECKPOINT_ARGUMENTS_MAX]; /* ends with NULL */
	size_t count;
	int console_fd; /* passed as descriptor 3 when > 0 */
};

/* value may be NULL. More than there is room for is dropped and fails in checkpoint_call_run(). */
void checkpoint_call_add(struct checkpoint_call *self, const char *option, const char *value);
/* Its messages go to our stderr. */
int checkpoint_call_run(const struct checkpoint_call *self, struct error *err);

/* What CRIU has left in the folder of the images (names; ends with NULL) goes to the folder work; NULL: it stays. */
void checkpoint_move_reports(const char *images, const char *work, const char *const *names);

struct restore_request {
	const char *root;
	const char *id;
	const char *bundle; /* NULL: the working directory */
	const char *images;
	const char *work; /* NULL: as images */
	const char *pid_file;
	const char *console_socket;
	const char *lsm_profile, *lsm_mount_context; /* NULL: what it had */
	bool closes_tcp;
	bool has_cgroups;
	bool uses_systemd;
};

struct restored {
	struct container container;
	struct spec spec;
	pid_t pid; /* its parent is the nearest subreaper */
};

/* On failure nothing is left behind. */
int restore_container(const struct restore_request *request, struct restored *ret_restored, struct error *err);
void restored_deinit(struct restored *self);
