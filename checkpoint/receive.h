/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Target side of a migration. The worker answers one incoming connection; whoever started it reads its progress lines
 * and, at "prepare", has the container's shim started, which runs `hydra-checkpoint restore --handoff`.
 */
#pragma once

#include "base/error.h"
#include "base/event_loop.h"
#include "checkpoint/carried.h"
#include "checkpoint/criu_find.h"
#include "checkpoint/handover.h"
#include "checkpoint/layer.h"
#include "checkpoint/local.h"
#include "checkpoint/mode.h"
#include "checkpoint/packets.h"
#include "checkpoint/pager.h"
#include "checkpoint/problems.h"
#include "checkpoint/progress.h"
#include "checkpoint/session.h"
#include "checkpoint/verdict.h"

#include <stdbool.h>

/* In the worker's folder: the copy that ran here was killed, because memory it needed is lost. The shim writes it too. */
#define LOST_FILE "lost"

struct receive_spec {
	const char *criu_path;
	int connection_fd;
	struct transport_files files;
	const char *work_root;  /* one folder per migration is made below */
	const char *layer_root; /* layers go to NAMESPACE/ID/upper below; NULL: containers with a layer are refused */
	const char *verdicts;   /* folder of this host's words on migrations (checkpoint/verdict.h) */
	const char *run_root;   /* a container NAMESPACE/ID below is in the way; NULL: not checked */
	int progress_fd;
	int patience_ms, restore_ms;
};

enum receive_outcome {
	RECEIVE_DONE = 0,
	RECEIVE_REFUSED = 1, /* nothing runs here, nothing is left here */
	RECEIVE_BROKEN = 4,  /* after the commit: see the message */
};

enum receive_outcome receive_run(const struct receive_spec *spec, struct error *err);

/* Goes on where a worker was that was killed after the commit: work is its folder, keeper_fd (taken) a socket to who kept the
 * userfaultfds. RECEIVE_BROKEN: memory is lost. */
enum receive_outcome receive_take_over(const char *work, int keeper_fd, int patience_ms, struct error *err);

/* Internal to the target side. */
enum receive_stage { STAGE_PREPARING, STAGE_RESTORING, STAGE_PREPARED, STAGE_COMMITTED, STAGE_PAGING, STAGE_COMPLETE };

struct receiver {
	const struct receive_spec *spec;
	struct session session;
	struct progress progress;
	struct criu criu;
	Hydra__V1__HandoffHello *hello;
	Hydra__V1__HandoffOffer *offer;
	Hydra__V1__HandoverRecord record;
	struct verdict verdict;
	struct packet_store packets;
	int packets_fd; /* FD_NONE: the tasks do not run yet */
	char *boot_id;
	char *work, *images, *layer;
	struct layer_sink sink;
	struct carried_sinks carried;
	int layer_fd;
	handoff_mode mode;
	const char *mode_reason;
	struct problems problems; /* in the way of this container */
	uint64_t rounds; /* of pre-copy, that have arrived */
	char *store, *lower; /* where layers are; that of this container */
	int lower_fd;        /* holds it, when it is in the store */
	struct layer_sink lower_sink;
	struct carried_sinks volumes;
	uint64_t working_ns;
	bool wants_lower, owns_lower;
	bool owns_work, owns_layer, is_relay;
	/* while restoring and paging */
	enum receive_stage stage;
	struct event_loop loop;
	struct pager pager;
	int listen_fd, restore_fd;
	struct event_source listen_source, restore_source, link_source, fault_source, signal_source;
	struct link fault_link; /* for what tasks wait for; transport.fd is FD_NONE when there is none */
	int keeper_fd;
	struct error error;
	bool has_failed, is_source_lost, is_acknowledged, is_done_said, is_in_shape;
	uint64_t complete_ns, running_ns;
	pid_t init; /* of the restored tasks; 0: not known */
	Hydra__V1__HandoffSums *sums; /* what it cost, when all memory is here */
};

/* PREFLIGHT: greets, checks the offer, answers. */
int receive_preflight(struct receiver *self, struct error *err);
/* Everything that is in the way here; chooses the mode. */
int receive_check(struct receiver *self, const Hydra__V1__HandoffFacts *ours, struct error *err);
/* receive_former.c: waits for the end of a container with that name, if it is about to be gone; at most ten seconds, without an error. */
int receive_wait_for_name(struct receiver *self, struct error *err);
/* Makes the work folder with what the shim needs and listens for the restore process. */
int receive_prepare(struct receiver *self, struct error *err);
mode_t receive_images_mode(const struct receiver *self);
/* receive_trees.c: the layer below, and volumes. What is here of it, and in the way. */
int receive_check_lower(struct receiver *self, struct error *err);
void receive_check_volumes(struct receiver *self);
/* Of what will come. */
uint64_t receive_lower_disk_bytes(const struct receiver *self);
uint64_t receive_trees_bytes(const struct receiver *self);
/* The folders that they go to. */
int receive_begin_trees(struct receiver *self, struct error *err);
int receive_lower(struct receiver *self, struct error *err);
void receive_undo_trees(struct receiver *self);
void receive_close_trees(struct receiver *self);
/* One pass of a tree; sink NULL: there is none. */
int receive_tree(struct receiver *self, struct layer_sink *sink, struct error *err);
/* SYNC and the images. */
int receive_layer(struct receiver *self, struct error *err);
int receive_images(struct receiver *self, struct error *err);
/* Images into the open folder until the source says that these are all. */
int receive_image_files(struct receiver *self, int dir_fd, struct error *err);
/* Pre-copy: what comes while the container runs. */
int receive_rounds(struct receiver *self, struct error *err);
/* Hybrid: what came in the round and was not written since is put in place when the container runs. */
int receive_plan_local(const struct receiver *self, int images_fd, struct error *err);
/* The final images are what has changed since the last round. */
int receive_link_rounds(const struct receiver *self, int images_fd, struct error *err);
/* Our greeting. */
int receive_say_hello(struct receiver *self, struct error *err);
/* What serves the pages, besides the pager. */
int receive_add_sources(struct receiver *self, struct error *err);
int receive_turn_until_over(struct receiver *self, struct error *err);
void receive_conclude(struct receiver *self);
void receive_clean_up(struct receiver *self);
/* From complete images to the last page. */
int receive_serve(struct receiver *self, struct error *err);
/* What this host is like, to who asks (HANDOFF_DESCRIBE). */
int receive_describe(struct receiver *self, struct error *err);
/* The verdict of this migration, in its folder or among this host's; the caller frees. */
char *receive_verdict_path(const struct receiver *self);
/* BEGUN: from here on this host has a word on the migration. */
int receive_begin_verdict(struct receiver *self, struct error *err);
/* The source may run it, whatever it thought: nothing of it ever ran here, and nothing will. */
void receive_abort_verdict(struct receiver *self);
/* Before the commit; or after it, when nobody will let the tasks run any more. */
bool receive_never_ran(struct receiver *self);
/* The source knows all: nothing has to be kept for it. */
void receive_forget(struct receiver *self);
/* The source has no memory any more: missing pages are poisoned, or the tasks killed, as the source wished. */
void receive_lose_memory(struct receiver *self, enum local_loss loss);
/* The copy has lost its memory: who asks hears of it. */
void receive_note_loss(struct receiver *self);
/* receive_faults.c: the second connection. Takes fd. */
void receive_take_faults(struct receiver *self, int fd);
void receive_drop_faults(struct receiver *self);
void receive_flush_faults(struct receiver *self);
void receive_handle_faults(struct event_source *source, uint32_t events);
/* receive_packets.c: a PACKET frame; and: the tasks run, and can be reached through veth. */
void receive_packet(struct receiver *self, const struct frame *frame);
void receive_give_packets(struct receiver *self, const char *veth);
/* Gives the connection to the worker that waits for it, and stays in between; or tells the source that all is done. */
int receive_relay(struct receiver *self, struct error *err);
