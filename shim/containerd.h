/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shim whose container is a task of containerd: containerd.task.v2.Task and v3, containerd's events, its command line.
 *
 * All of it is the shim of any other container, with one more service (docs/adr/0012-shims-of-containerd.md). The container comes
 * with Create, goes with Delete, and the shim with Shutdown.
 */
#pragma once

#include "proto/ttrpc_client.h"
#include "proto/ttrpc_server.h"
#include "shim/container.h"
#include "task.pb-c.h"

#include <stdbool.h>

struct containerd {
	struct shim *shim;
	struct ttrpc_client client;
	bool has_client;
	uint64_t taken;   /* number of the last event in the journal that containerd has, or that is not for it */
	uint64_t offered; /* of the one that was sent and not answered; 0: none */
	uint64_t retry_ns;
	struct event_timer retry_timer;
	struct event_timer reader_timer; /* output whose reader has not come yet is there for it for a while */
	struct event_timer delete_timer; /* output that nobody reads does not hold up a Delete for ever */
	event **kept; /* what was in the journal when the run directory went, and is not taken yet */
	size_t kept_count;
	bool is_removed;
	bool is_told_to_end;
};

/* Marks events of execs that containerd made, in their detail. */
#define CONTAINERD_DETAIL "containerd"

extern const struct ttrpc_method containerd_methods[];

/* containerd_main.c: everything that the program does under the name containerd-shim-hydra-v1. */
int containerd_main(int argc, char **argv);

/* containerd_task.c: the shim's container is containerd's. */
int containerd_init(struct shim *shim, struct error *err);
/* Answers Delete when its time has come. True: the shim is to end. */
bool containerd_progress(struct shim *shim);
void containerd_reply_wait(struct ttrpc_call *call, const exit_record *exit);

/* containerd_events.c: how far containerd has taken the events of the journal. */
void containerd_events_init(struct containerd *self);
/* Sends what is next, unless something is on its way. */
void containerd_events_send(struct containerd *self);
/* containerd was heard of: it is there. */
void containerd_events_retry(struct containerd *self);
bool containerd_events_are_sent(const struct containerd *self);
/* The journal goes: what is not sent is kept in memory from now on. */
void containerd_events_keep(struct containerd *self);
/* The newest event has this type. */
bool containerd_noted_last(const struct container *container, const char *type);
void containerd_timestamp(uint64_t time_ns, Containerd__Task__Timestamp *ret_timestamp);

/* containerd_rootfs.c */
int containerd_mount_rootfs(const Containerd__Task__CreateRequest *request, struct error *err);
void containerd_unmount_rootfs(const char *bundle);
