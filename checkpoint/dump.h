/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving a container: to disk, or parked with its pages still in the frozen tasks (for a migration).
 */
#pragma once

#include "base/error.h"
#include "checkpoint/criu_rpc.h"
#include "checkpoint/metadata.h"
#include "checkpoint/watches.h"

#include <stdbool.h>
#include <sys/types.h>

#define DUMP_LOG "dump.log"

struct dump_spec {
	const struct criu *criu;
	const char *id;
	pid_t init;
	const char *images; /* folder, made when missing */
	bool leaves_running;
	int timeout_s;      /* 0: CRIU's own */
	bool is_complete;   /* parked: all memory is in the images, too */
	const int *holds;   /* what has to be held until CRIU is out of the tasks (criu_rpc.h) */
	const char *parent; /* images of the round before, as a path from images; NULL: none */
	bool links_deleted;        /* a deleted file that has other names gets one more, in its folder, which restore finds it by */
	bool skips_half_open;      /* TCP connections that nobody has accepted yet are left out */
};

/* The whole container to disk. On failure it runs on, with its connections. */
int dump_to_disk(const struct dump_spec *spec, struct error *err);

/* What dump_to_disk() then needs less of, with parent: all memory that was written since the images in parent, or all. The container runs. */
int dump_ahead(const struct dump_spec *spec, struct error *err);

/* The tasks stand still: what was written or typed for the init, and not read yet, goes along with the images. */
int dump_save_input(Hydra__V1__CheckpointMetadata *metadata, pid_t init, int images_fd, struct error *err);
/* Where CRIU saves less than a task needs to go on as it was. */
int dump_correct_images(int images_fd, struct error *err);
/* A round of pre-copy: the memory that was written since the round in parent (all without one). The tasks stand still only for as
 * long as it takes to mark it. */
int dump_round(const struct dump_spec *spec, Hydra__V1__CheckpointMetadata *metadata, struct error *err);

/* A dump whose page server never serves, or one that is complete and waits to be agreed to: the tasks stay frozen until
 * dump_commit (they die) or dump_abort (they run). */
struct parked_dump {
	struct criu_worker worker;
	bool is_at_work; /* CRIU is in the tasks, which do not all stand still yet */
	int park_fd; /* our end of the page socket */
	int images_fd;
	const char *images;
	bool is_complete;
	struct watches watches;
};

#define PARKED_DUMP_NONE ((struct parked_dump){.worker = CRIU_WORKER_NONE, .park_fd = -1, .images_fd = -1})

#define DUMP_GOES_ON 1

/* Everything that can be done while the container runs and is heard of: CRIU is there, and waits. */
int dump_park_prepare(struct parked_dump *self, const struct dump_spec *spec, struct error *err);
/* Starts what was prepared and returns at once; whenever worker.socket_fd is readable, call dump_park_continue. */
int dump_park_start(struct parked_dump *self, const struct dump_spec *spec,
		    const Hydra__V1__CheckpointMetadata *metadata, struct error *err);
/* Waits until CRIU is out of the tasks, which it may be working on: only then do their sockets stay as we make them. */
void dump_settle(struct parked_dump *self);
/* 0: parked, images complete. DUMP_GOES_ON. Else the reason; the tasks run again when dump_abort has been called. */
int dump_park_continue(struct parked_dump *self, struct error *err);
/* The tasks are killed. */
int dump_commit(struct parked_dump *self, struct error *err);
/* The tasks run again. Waits until CRIU is not in the middle of something. Accepts PARKED_DUMP_NONE. Switch TCP repair off before (tcp_repair.h). */
void dump_abort(struct parked_dump *self);
