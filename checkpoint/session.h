/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step by step part of a migration: sending and expecting frames in turn, with patience that ends, an ear for
 * the peer's refusal, and for signals that call the migration off.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/frames.h"
#include "handoff.pb-c.h"

#include <signal.h>
#include <stdbool.h>

#define SESSION_VERSION      1
/* What this program can do besides: enum HandoffCapability */
#define SESSION_CAPABILITIES                                                                                              \
	(HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_CHECKSUMS | HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_TWO_LINKS |                            \
	 HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_LZ4 | HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_ZSTD |                                      \
	 HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_MODES | HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_TMPFS | HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_VERDICTS | \
	 HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_PACKETS | HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_LAYERS |                                    \
	 HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_VOLUMES)

struct session {
	struct link link;
	int signal_fd;    /* SIGTERM, SIGINT, SIGHUP are blocked and read here */
	int patience_ms;  /* how long the peer may be silent */
	uint64_t deadline_ns;      /* of what is done now, by clock_monotonic_ns(); 0: none */
	const char *deadline_name;
	bool is_cancelled;
	bool was_refused; /* the peer knows that this is over */
};

/* Takes *connection_fd. Blocks the signals for good. */
int session_open(struct session *self, int *connection_fd, bool is_server, const struct transport_files *files,
		 int patience_ms, struct error *err);
/* session_open() does it; before that only who looks for them hears of them. ret_before may be NULL. */
int session_block_signals(sigset_t *ret_before, struct error *err);
void session_close(struct session *self);
/* Sends until nothing is queued, without listening; for a connection that is not the session's. */
int link_drain(struct link *self, int timeout_ms, struct error *err);

/* Sends until at most rest bytes are queued. -EREMOTEIO: the peer refused, with its reason; -ECANCELED: a signal. */
int session_flush(struct session *self, size_t rest, struct error *err);
/* Flushes and waits for a frame. -EREMOTEIO: it was a refusal. */
int session_next(struct session *self, struct frame *ret_frame, struct error *err);
/* The same for one of this type. */
int session_expect(struct session *self, enum frame_type type, struct frame *ret_frame, struct error *err);
/* The same, while the peer computes: working, which may be NULL, is called whenever it says so. */
int session_await(struct session *self, enum frame_type type, struct frame *ret_frame, void (*working)(void *context), void *context,
		  struct error *err);
/* Waits until fd is readable while the peer stays there, nobody cancels, and the deadline has not passed. */
int session_wait_fd(struct session *self, int fd, struct error *err);
/* Tells the peer why this ends, and gives it a moment to hear it. */
void session_abort(struct session *self, const char *reason);
/* Sends what is queued and waits a moment for the peer to close: a reset must not overtake it. */
void session_linger(struct session *self);
/* -ETIMEDOUT: what is done now has taken longer than it may. */
int session_check_deadline(const struct session *self, struct error *err);
/* Whether a signal has called it off; reads the signals. */
bool session_was_cancelled(struct session *self);

/* A HandoffStage frame. */
int session_say(struct session *self, enum frame_type type, unsigned long long epoch, const char *message, struct error *err);
/* The same with what the migration cost. */
int session_say_sums(struct session *self, enum frame_type type, unsigned long long epoch, Hydra__V1__HandoffSums *sums, struct error *err);
/* The reason in an ABORT frame, as error. */
int session_refused(struct session *self, const struct frame *frame, struct error *err);
