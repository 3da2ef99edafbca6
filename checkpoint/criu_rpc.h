/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One `criu swrk` process and the conversation with it.
 */
#pragma once

#include "base/child.h"
#include "base/error.h"
#include "checkpoint/criu_find.h"
#include "rpc.pb-c.h"

#include <stdbool.h>
#include <sys/types.h>

#define CRIU_WORKER_FDS_MAX 24

/* Descriptors of `hydra-checkpoint guard`, and what a worker tells it. */
#define GUARD_CRIU_FD   3 /* CRIU's end of the conversation */
#define GUARD_LIFE_FD   4 /* words of the worker; its end is the worker's */
#define GUARD_WORKER_FD 5 /* the worker's end of the conversation */
#define GUARD_HOLD_FD   6 /* and further ones: only held */

/* Committed: the container may live elsewhere by now. */
enum guard_word { GUARD_IDLE = 'I', GUARD_AT_WORK = 'W', GUARD_COMMITTED = 'C' };

struct criu_worker {
	int life_fd; /* to the guard; FD_NONE: there is none */
	int socket_fd;
	pid_t pid;
	pid_t restored; /* init, as soon as a notification has told */
	int pidfd;
	int cancel_fd; /* borrowed; readable: the request is given up (FD_NONE: never) */
};

#define CRIU_WORKER_NONE ((struct criu_worker){.life_fd = -1, .socket_fd = -1, .pidfd = -1, .cancel_fd = -1})

struct criu_worker_spec {
	const struct criu *criu;
	int net_namespace_fd;           /* criu runs inside it; <= 0: ours */
	const char *const *cgroup_dirs; /* criu and with it what it restores; NULL: ours */
	struct child_fd fds[CRIU_WORKER_FDS_MAX]; /* numbers from 10 on */
	size_t fd_count;
	const int *holds;   /* a dumper's guard holds them too: leases and locks that must not go before it has ended; ends with FD_NONE */
	pid_t init;         /* of a dumper's container */
	bool is_restorer; /* survives us long enough to notice and to kill what it had half restored */
};

/* A dumping worker dies with the calling process, but not in the middle of its work: see command_guard.c. */
int criu_worker_start(struct criu_worker *self, const struct criu_worker_spec *spec, struct error *err);
/* Kills it if it still runs and reaps it: what it had frozen runs again. Accepts CRIU_WORKER_NONE. */
void criu_worker_stop(struct criu_worker *self);
/* A restorer's end at any point, also when its tasks wait for pages that nobody will bring: kills it, what it
 * restored, and every other child of the calling process; returns when all of them are reaped. */
void criu_worker_abandon(struct criu_worker *self);
/* It has ended, or is just ending. */
bool criu_worker_has_ended(const struct criu_worker *self);
/* Waits until it has ended by itself. */
void criu_worker_wait(struct criu_worker *self);

/* CRIU is in the tasks from here on, or has left them. */
void criu_worker_tell(const struct criu_worker *self, enum guard_word word);
int criu_worker_request(struct criu_worker *self, const CriuReq *request, struct error *err);
/* One message (final answer or notification) and the descriptor that came with it, FD_NONE mostly.
 * -EPIPE: the worker is gone. -ECANCELED: cancel_fd is readable. The caller frees with criu_resp__free_unpacked. */
int criu_worker_receive(struct criu_worker *self, CriuResp **ret_answer, int *ret_fd, struct error *err);
int criu_worker_acknowledge(struct criu_worker *self, bool is_agreed, struct error *err);

/* Negative: veto. fd belongs to the callee when it takes it (sets it to FD_NONE). */
typedef int criu_notified(void *context, const char *stage, int *fd, struct error *err);
/* Answers notifications until the final response; *ret_pid is what a restore made (may be NULL).
 * On failure the reason is what the log in log_dir_fd/log_name tells. */
int criu_worker_finish(struct criu_worker *self, criu_notified *notified, void *context, pid_t *ret_pid,
		       struct error *err);
