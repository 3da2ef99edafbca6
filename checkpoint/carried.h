/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's tmpfs mounts, in a migration: CRIU would put what is in them through a tar while the container stands still. Here they
 * are mounts from outside to CRIU, and their content moves as the writable layer does: all of it while the container runs, what has changed
 * since then when it stands still. Those that can't be moved so stay CRIU's.
 */
#pragma once

#include "base/error.h"
#include "checkpoint.pb-c.h"
#include "checkpoint/criu_options.h"
#include "checkpoint/layer.h"
#include "checkpoint/session.h"

#include <stdbool.h>
#include <sys/types.h>

#define CARRIED_MAX 32

/* At the source. */
struct carried_mount {
	int root_fd;
	struct layer_list before; /* what the first pass sends */
	bool times_tell;          /* layer_times_tell() */
};

struct carried {
	struct carried_mount items[CARRIED_MAX];
	size_t count;
	int watch_fd; /* tells which files were written; FD_NONE: nobody does */
	bool cannot_watch; /* not all of them */
};

#define CARRIED_NONE ((struct carried){.watch_fd = -1})

/* Adds those of the container to its description, and watches and lists them. */
int carried_find(struct carried *self, Hydra__V1__CheckpointMetadata *metadata, pid_t init, struct error *err);
/* A folder of the host that the container has mounted: a volume. */
int carried_add_folder(struct carried *self, const char *path, struct error *err);
/* They are CRIU's again. */
void carried_leave(struct carried *self, Hydra__V1__CheckpointMetadata *metadata);
void carried_deinit(struct carried *self);
uint64_t carried_bytes(const struct carried *self);
/* progress may be NULL. */
int carried_send(const struct carried *self, struct session *session, const struct layer_progress *progress, struct error *err);
/* When the container stands still: what has changed since. */
int carried_send_rest(const struct carried *self, struct session *session, pid_t init, struct error *err);
/* What of a tmpfs' options, as mountinfo has them, is needed to make one like it; NULL: there is something else to it. Pure. */
char *carried_options(const char *super_options);

/* At the target, in the receive worker: file systems that are mounted nowhere, and gone with their descriptors. */
struct carried_sinks {
	struct layer_sink items[CARRIED_MAX];
	size_t count;
};

int carried_sinks_make(struct carried_sinks *self, const ProtobufCBinaryData *metadata, struct error *err);
/* To the restore process. */
int carried_sinks_pass(const struct carried_sinks *self, int restore_fd, struct error *err);
void carried_sinks_deinit(struct carried_sinks *self);

/* At the target, in the restore process: CRIU can bind only what is mounted somewhere. */
struct carried_places {
	int fds[CARRIED_MAX];
	size_t count;
	char *folder;    /* they are mounted below it */
	size_t attached;
};

/* Takes fd. */
int carried_places_add(struct carried_places *self, int fd, struct error *err);
/* folder: that of the migration. */
int carried_places_attach(struct carried_places *self, const char *folder, const Hydra__V1__CheckpointMetadata *metadata,
			  struct criu_options *options, struct error *err);
/* What CRIU has bound stays. */
void carried_places_deinit(struct carried_places *self);
