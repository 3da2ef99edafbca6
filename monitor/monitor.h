/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-monitor: parent of shims and of hydrad, so that somebody notices when one of them ends.
 *
 * Very small on purpose: what it does not do can't kill it.
 */
#pragma once

#include "base/event_loop.h"
#include "base/notify.h"
#include "base/reexec.h"
#include "monitor.pb-c.h"
#include "monitor/ledger.h"
#include "monitor/ledger_file.h"
#include "proto/replacement.h"
#include "proto/store.h"
#include "proto/ttrpc_server.h"
#include "seal.pb-c.h"

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct watched_shim {
	char namespace[80];
	char id[80];
	pid_t pid;
	bool is_successor;
	unsigned successors; /* in a row, each of which died young */
	uint64_t started_ns;
	struct event_timer timer; /* of the next successor */
	struct monitor *monitor;
	struct watched_shim *next;
};

/* limits.c: what RLIMIT_NOFILE leaves for deposits. */
struct limits {
	unsigned descriptors_max;
	unsigned deposits_max_fd; /* deposits have numbers below: the rest is for connections, files and children */
	uint64_t refused;         /* deposits, since the monitor began */
	bool has_warned;
};

#define ENDS_KEPT 512

/* ends.c: how children of dead shims ended, the last ones. */
struct ends {
	struct store_end items[ENDS_KEPT];
	unsigned next;
};

struct monitor {
	struct event_loop loop;
	struct ttrpc_server server;
	const char *root;
	int lock_fd;
	int listen_fd;
	struct watched_shim *shims;
	bool runs_daemon;
	const char *const *daemon_arguments; /* further ones */
	int daemon_argument_count;
	pid_t daemon_pid;
	struct event_source daemon_source; /* pidfd of one that is not our child; fd FD_NONE otherwise */
	unsigned daemon_restarts;
	uint64_t daemon_started_ns;
	uint64_t daemon_delay_ns;
	struct event_timer daemon_timer;
	struct event_timer orphan_timer;
	uint64_t orphans_since_ns; /* when it was armed first */
	struct event_timer look_timer;
	bool looks_once_more;
	struct event_source store_source;
	struct deposit *deposits;
	struct depositor *depositors;
	struct errand *errands; /* what the service manager did not take yet */
	struct event_timer errand_timer;
	struct watchdog watchdog;
	struct event_source metrics_source;
	struct event_source metrics_tcp_source;
	unsigned scrapes; /* connections that are not answered yet */
	struct ledger ledger;
	struct ledger_file ledger_file;
	bool ledger_has_problem;  /* it could not be written */
	struct timespec migrations_time; /* of the folder of migrations, when it was read; 0: read it again */
	unsigned migrations_running;
	uint64_t unseen_since_ns; /* CLOCK_BOOTTIME: the last word of the monitor before */
	uint64_t started_ns;      /* CLOCK_REALTIME */
	struct limits limits;
	struct ends ends;
	const char *const *argv;    /* what we were started with */
	struct replacement upgrade;
};

/* account.c: the ledger of this host. After account_open(): account_begin() at an ordinary start, nothing after an upgrade. */
int account_open(struct monitor *self, struct error *err);
void account_begin(struct monitor *self);
/* An orderly end. */
void account_end(struct monitor *self);
/* The name of a shim in the ledger. */
void account_name(char ret_name[static LEDGER_NAME_SIZE], const char *namespace, const char *id);
void account_note(struct monitor *self, const char *name, ledger_state state, pid_t pid, const char *why);
/* Of change, name and time are not used. */
void account_note_shim(struct monitor *self, const char *namespace, const char *id, const struct ledger_change *change);
/* A shim that we did not start. */
void account_found(struct monitor *self, const char *namespace, const char *id, pid_t pid);
/* The same one has ended. */
void account_end_by_pid(struct monitor *self, pid_t pid, const char *why);
/* It was up when the monitor before us was lost, and now is not (any more): unknown in between. */
void account_unseen(struct monitor *self, const char *name, ledger_state state, const char *why);
/* CLOCK_BOOTTIME at which somebody saw the monitor before us go. */
void account_lost(struct monitor *self, uint64_t time_ns);

/* ledger_answer.c: hydra.v1.Monitor.Ledger. */
void account_answer(struct ttrpc_call *call, const ProtobufCMessage *message);
/* migrations.c: those that are over since the last look go into the ledger, each once. */
void account_migrations(struct monitor *self);
/* account.c: one more entry of the ledger, which has been applied. */
void account_append(struct monitor *self, const Hydra__V1__LedgerFileEntry *entry);
/* Those are forgotten that have ended and whose container was removed. */
void account_forget(struct monitor *self);
/* What is known of a shim's container now; false: there is none (any more). */
bool account_look(const struct monitor *self, const struct ledger_subject *subject, Hydra__V1__LedgerContainer *ret_container);

/* limits.c */
void limits_init(struct limits *self);
/* *fd was just received to be kept; it may get another number. False: there is no room for it. */
bool limits_allow(struct limits *self, int *fd);

/* shims.c */
int shims_spawn(struct monitor *monitor, const char *namespace, const char *id, bool adopt, pid_t *ret_pid, struct error *err);
/* True when pid was a shim's; its end is dealt with. */
bool shims_ended(struct monitor *monitor, pid_t pid, int status);
/* Containers whose shim died and whose parent was not us, and what is left of those that are over: at start, and soon after one that
 * deposits ended. */
void shims_recover(struct monitor *monitor);
void shims_look_soon(struct monitor *monitor);
bool shims_has_child(const struct monitor *monitor, pid_t pid);
unsigned shims_count(const struct monitor *monitor);

/* Our child was stopped or goes on: one that is stopped answers nobody. */
void shims_stopped(struct monitor *monitor, pid_t pid, int status);
/* What hydrad says of a shim. */
void shims_reported(struct monitor *monitor, const char *namespace, const char *id, bool is_reachable);

/* Something of it still runs, will run again or was not read to its end, and nobody supervises it. */
bool shims_need_successor(struct monitor *monitor, const char *namespace, const char *id);
/* No shim supervises it, and none will. */
bool shims_are_done_with(struct monitor *monitor, const char *namespace, const char *id);
/* True while a successor is due or has just begun: it must find what it adopts. */
bool shims_are_being_replaced(const struct monitor *monitor);

/* For and from another binary (upgrade.c). False: no memory. */
bool shims_seal(const struct monitor *monitor, Hydra__V1__SealedMonitor *sealed);
void shims_unseal(struct monitor *monitor, const Hydra__V1__SealedMonitor *sealed);

/* store.c, deposits.c: descriptors that shims deposit (proto/store.h). listen_fd: FD_NONE, or that of the binary before. */
int store_open(struct monitor *monitor, int listen_fd, struct error *err);
/* name "*": all of the container. */
void store_drop(struct monitor *monitor, const char *namespace, const char *id, const char *name);
/* What a shim that has ended said last, which may be that nothing is left to be done. */
void store_hear_out(struct monitor *monitor, pid_t pid);
/* What is kept under that name, still the store's; FD_NONE: nothing. */
int store_find(const struct monitor *monitor, const char *namespace, const char *id, const char *name);
/* What no shim has deposited since we began, of containers that none is there for or will be: the one that could have dropped it has gone
 * before it found us. */
void store_drop_orphans(struct monitor *monitor);
/* Its standard output or error is not at its end: otherwise the shim would have dropped it. */
bool store_has_output(const struct monitor *monitor, const char *namespace, const char *id);

/* Without a word to keeper.c, which has a copy already; takes fd. */
void store_add(struct monitor *monitor, const char *namespace, const char *id, const char *name, int fd);
/* A shim that we know of and that has not connected yet: its end is to be seen too. */
void store_await(struct monitor *monitor, pid_t pid);
/* We end and may stay away: what is written to would not be seen to be closed by who reads it. */
void store_let_inputs_go(struct monitor *monitor);
unsigned store_count(const struct monitor *monitor);

bool store_seal(const struct monitor *monitor, Hydra__V1__SealedMonitor *sealed);
void store_unseal(struct monitor *monitor, const Hydra__V1__SealedMonitor *sealed);

/* keeper.c: a copy of each deposit with the service manager; nothing happens when there is none. */
void keeper_keep(struct monitor *monitor, const char *namespace, const char *id, const char *name, int fd);
void keeper_forget(struct monitor *monitor, const char *namespace, const char *id, const char *name);
/* We end: what waits for the service manager is told now, as far as it takes it. */
void keeper_flush(struct monitor *monitor);
/* At an ordinary start: what was kept of containers that still are goes back into the store. */
void keeper_recover(struct monitor *monitor);

/* ends.c: reaps a child that has ended, and remembers how. */
void ends_reap(struct ends *self, pid_t pid);
/* "ended", of a successor. */
void ends_answer(struct ends *self, const struct store_request *request, int store_fd);
bool ends_seal(const struct ends *self, Hydra__V1__SealedMonitor *sealed);
void ends_unseal(struct ends *self, const Hydra__V1__SealedMonitor *sealed);

/* supervise.c: hydrad. */
void daemon_start(struct monitor *monitor);
void daemon_start_later(struct monitor *monitor, uint64_t delay_ns);
bool daemon_ended(struct monitor *monitor, pid_t pid, int status);
void daemon_stopped(struct monitor *monitor, pid_t pid, int status);
/* Watches a hydrad that runs and is not our child. False: there is none. */
bool daemon_find(struct monitor *monitor);

/* metrics_server.c: Prometheus text on <root>/metrics.sock, and on a loopback port when asked. */
int metrics_open(struct monitor *monitor, int port, struct error *err);
/* The same with the sockets of the binary before; tcp_fd may be FD_NONE. */
int metrics_reopen(struct monitor *monitor, int fd, int tcp_fd, struct error *err);

/* upgrade.c: hydra.v1.Monitor.Upgrade. */
void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message);
/* What the binary before left; -EPROTO: not understood. Free with message_free(). */
int upgrade_read(const struct reexec_options *options, Hydra__V1__SealedMonitor **ret_sealed, struct error *err);
/* Goes on as it did, once everything listens. */
void upgrade_take_over(struct monitor *self, const Hydra__V1__SealedMonitor *sealed, const struct reexec_options *options);

extern const struct ttrpc_method monitor_methods[];
