/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source side of a migration: PREFLIGHT, SYNC, FREEZE, COMMITTED, PAGING, DONE.
 * Before COMMITTED every failure leaves the container running here. After it the container is never thawed here.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"
#include "checkpoint/carried.h"
#include "checkpoint/criu_find.h"
#include "checkpoint/deadlines.h"
#include "checkpoint/dump.h"
#include "checkpoint/handover.h"
#include "checkpoint/layer.h"
#include "checkpoint/layer_known.h"
#include "checkpoint/mode.h"
#include "checkpoint/page_server.h"
#include "checkpoint/problems.h"
#include "checkpoint/progress.h"
#include "checkpoint/session.h"

#include <stdbool.h>

struct send_spec {
	const struct criu *criu;
	const char *connect;       /* HOST:PORT; NULL: connection_fd */
	int connection_fd;
	struct transport_files files;
	const char *id, *container_namespace, *migration_id;
	unsigned long long epoch;
	int pid;                   /* the container's init */
	const char *work, *state;  /* folders: images; the fencing record */
	const char *layer;         /* writable layer; NULL: none */
	const char *lower, *layers; /* the layer below it, NULL: none; and the folder of state/layer_store.h */
	const struct string_list *volumes;  /* folders that are sent, and must not be at the target */
	const struct string_list *required; /* paths that the target must have too */
	const char *record, *config, *limits; /* files to pass on, may be NULL */
	const char *veth, *bridge, *mac;
	int progress_fd;
	int patience_ms;
	uint64_t deadlines_ns[DEADLINES]; /* 0: none */
	int reconnect_ms; /* 0: without end */
	uint64_t bandwidth;   /* bytes a second for what nobody waits for; 0: all there is */
	const char *compress; /* "auto", or the name of a method */
	handoff_mode mode;
	bool is_dry_run, strangers_end; /* the second: processes from outside will be ended before it is meant */
	const struct string_list *obstacles; /* OBJECT<tab>REASON<tab>REMEDY each: what the caller knows to be in the way */
	uint64_t downtime_ms; /* pre-copy: how long the container may stand still for what is left */
	Hydra__V1__LostPages lost_pages;
	const int *holds;       /* lease and lock on the container, which CRIU's guard holds too; ends with FD_NONE */
	const char *departures; /* folder (checkpoint/departure.h); NULL: none */
};

enum send_outcome {
	SEND_MOVED = 0,
	SEND_STAYED = 1,   /* failed before the commit: the container runs here */
	SEND_IN_DOUBT = 4, /* failed after it: the container is stopped here and must not be thawed unless the target is
			    * known not to run it */
};

/* Prints what is in the way and what to expect, as a JSON object; nothing is changed. */
int send_dry_run(const struct send_spec *spec, struct error *err);
enum send_outcome send_run(const struct send_spec *spec, struct error *err);
/* Goes on where a worker was that died after the commit. Of the spec only state, progress_fd and the times are used; the
 * rest is in the fencing record. */
enum send_outcome send_resume(const struct send_spec *spec, struct error *err);

/* An administrator decides where a container in doubt lives; asks the target before, and refuses what contradicts its word. Of the
 * spec, as for send_resume(). */
int send_resolve(const struct send_spec *spec, bool to_source, struct error *err);
/* What a worker that was killed left: the network is plugged, TCP connections given back, tasks continued that it stopped.
 * state: the folder of the fencing record. */
int send_recover(const char *state, const char *migration_id, int pid, const char *veth, const char *bridge, struct error *err);

/* Internal to the source side. */
struct sender_state {
	const struct send_spec *spec;
	struct session session;
	struct progress progress;
	struct parked_dump dump;
	struct page_server pages;
	struct link faults; /* for what tasks wait for; transport.fd is FD_NONE when there is none */
	uint64_t target_capabilities;
	handoff_mode mode;   /* what was agreed on */
	unsigned int rounds; /* of pre-copy, that the target has */
	char mode_reason[200];
	size_t task_count;
	struct problems problems;
	uint64_t busy_ns, busy_bytes; /* since when there was always more to send than the network took, and what went out before */
	struct layer_list layer_before;
	int layer_fd;
	struct carried carried, volumes;
	struct layer_folder lower;
	char *lower_path; /* at the target */
	bool wants_lower;
	struct problems notes; /* to think of; not in the way */
	Hydra__V1__CheckpointMetadata *metadata;
	Hydra__V1__HandoverRecord record;
	Hydra__V1__HandoverState verdict; /* the target's word, when it has given one */
	bool is_lost_there;
	int packets_fd; /* what is said to the container meanwhile (packets.h) */
	char *boot_id, *departure; /* of the record */
	uint64_t bytes_before, bytes_of_tree; /* of the first pass: sent before the tree under way, and of it */
	uint64_t began_ns; /* by clock_monotonic_ns() */
	uint64_t frozen_ns, parked_ns, sent_ns; /* real time: the freeze was asked for; CRIU holds still; the target has the images */
	uint64_t running_ns;          /* the same: it was heard to run at the target */
	Hydra__V1__HandoffSums *sums; /* what the target says it cost; NULL: not yet */
	bool was_refused; /* after the commit, and asked again since */
	bool is_unplugged, is_committed, is_running_there, is_done;
};

/* PREFLIGHT: offers the container and hears the answer. Nothing has changed then. */
int send_preflight(struct sender_state *self, struct error *err);
/* What is in the way here. */
void send_find_problems(struct sender_state *self, const struct proc_tasks *tasks, const Hydra__V1__HandoffFacts *facts);
/* send_trees.c: computes a digest, which takes as long as reading all of the layer, the first time. */
int send_open_trees(struct sender_state *self, struct error *err);
/* When it is known what the target understands. */
int send_offer_trees(struct sender_state *self, Hydra__V1__HandoffOffer *offer, struct error *err);
void send_heed_trees(struct sender_state *self, const Hydra__V1__HandoffAnswer *answer);
void send_note_shared(struct sender_state *self);
/* Of the first pass. */
uint64_t send_trees_bytes(const struct sender_state *self);
int send_lower(struct sender_state *self, const struct layer_progress *progress, struct error *err);
void send_close_trees(struct sender_state *self);
/* What the target, which has greeted, can be asked for. */
int send_agree(struct sender_state *self, Hydra__V1__HandoffOffer *offer, struct error *err);
void send_clean_up(struct sender_state *self);
/* The mode that was agreed on; -EREMOTEIO: why it can't be. */
int send_heed_answer(struct sender_state *self, const Hydra__V1__HandoffAnswer *answer, struct error *err);
/* From here on it is noted which memory is used. */
void send_note_usage(const struct sender_state *self);
/* What was, goes with the images. Something for the progress, the caller's to free, or NULL. */
char *send_heat(struct sender_state *self);
/* Pre-copy, until it has come far enough. */
int send_rounds(struct sender_state *self, struct error *err);
/* Every image in the folder. */
int send_images(struct sender_state *self, const char *path, struct error *err);
/* Pages until the target has all of them, over as many connections as it takes. */
int send_until_done(struct sender_state *self, struct error *err);
/* When send_until_done() failed: it goes on here if the target gave it up, else it is in doubt. */
enum send_outcome send_end_without_done(struct sender_state *self, struct error *err);
/* The copy runs elsewhere and has everything: this one ends. */
void send_bury(struct sender_state *self);
/* The target's word has come: -ECANCELED: it never ran there; -ENOTRECOVERABLE: the administrator has to decide. */
int send_take_verdict(struct sender_state *self, const struct frame *frame, struct error *err);
/* The target has said that it never ran there: it goes on here. */
int send_take_back(struct sender_state *self, struct error *err);
/* Tells the target that no more memory comes, until it has answered. -ECANCELED: a signal came before. */
int send_tell_loss(struct sender_state *self);
/* What a worker needs that goes on where another was; times and progress as given. */
struct send_spec send_spec_of(const struct send_spec *given, const Hydra__V1__HandoverRecord *fence);
/* Tells the network that the container is here: the target may have said already that it is there. */
void send_announce(int pid, const char *veth);
/* What was said to the container goes to the target, or to the container when it goes on here. */
int send_packets(struct sender_state *self, struct error *err);
void send_give_packets_back(struct sender_state *self);
/* BEGUN: with the tasks that stand still by themselves. To be written just before the freeze. */
int send_record_begun(struct sender_state *self, struct error *err);
/* Stops every task that pages are served of by signal: whoever dies, they stay where they are. */
void send_stop(const struct sender_state *self);
/* Those that send_stop() stopped run again. */
int send_continue(struct sender_state *self, struct error *err);
bool send_task_is_stopped(pid_t pid);
void send_kill(const struct sender_state *self);
/* Dials and asks, once. *ret_verdict is the caller's to free. */
int send_ask(struct sender_state *self, int purpose, Hydra__V1__HandoffVerdict **ret_verdict, struct error *err);
/* Connects (or takes connection_fd) and greets. */
int send_connect(struct sender_state *self, int purpose, struct error *err);
/* Brings the figures of the progress up to date. */
void send_count(struct sender_state *self);
/* For the pages, by what the target understands. */
void send_choose_compression(struct sender_state *self);
/* One more connection, for pages that tasks wait for; without one they come over the first. */
void send_connect_faults(struct sender_state *self);
/* Serves pages until a frame of type until comes (PREPARED or DONE). */
int send_serve(struct sender_state *self, enum frame_type until, struct error *err);
