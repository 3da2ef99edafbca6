/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-monitor: parent of shims and of hydrad, so that somebody notices when one of them ends.
 *
 * Very small on purpose: what it does not do can't kill it.
 */
#pragma once

#include "base/event_loop.h"
#include "monitor.pb-c.h"
#include "proto/ttrpc_server.h"

#include <stdbool.h>
#include <sys/types.h>

#define LEDGER_ENTRIES 512

struct ledger_entry {
	uint64_t time_ns;
	char subject[160]; /* "daemon", or namespace/id of a shim */
	bool is_up;
	pid_t pid;
	char detail[64];
};

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
	unsigned daemon_restarts;
	uint64_t daemon_started_ns;
	uint64_t daemon_delay_ns;
	struct event_timer daemon_timer;
	struct event_timer orphan_timer;
	struct event_source store_source;
	struct deposit *deposits;
	struct event_source metrics_source;
	struct event_source metrics_tcp_source;
	unsigned scrapes; /* connections that have not asked yet */
	struct ledger_entry ledger[LEDGER_ENTRIES];
	uint64_t ledger_count;
};

/* ledger.c: who was up and down, from when to when. */
void ledger_note(struct monitor *monitor, const char *subject, bool is_up, pid_t pid, const char *detail);

/* shims.c */
int shims_spawn(struct monitor *monitor, const char *namespace, const char *id, bool adopt, pid_t *ret_pid, struct error *err);
/* True when pid was a shim's; its end is dealt with. */
bool shims_ended(struct monitor *monitor, pid_t pid, int status);
/* At start: containers whose shim died while no monitor was there. */
void shims_recover(struct monitor *monitor);
unsigned shims_count(const struct monitor *monitor);

/* True while a successor is due or has just begun: it must find what it adopts. */
bool shims_are_being_replaced(const struct monitor *monitor);

/* store.c: descriptors that shims deposit (proto/store.h). */
int store_open(struct monitor *monitor, struct error *err);
/* name "*": all of the container. */
void store_drop(struct monitor *monitor, const char *namespace, const char *id, const char *name);

/* supervise.c: hydrad. */
void daemon_start(struct monitor *monitor);
bool daemon_ended(struct monitor *monitor, pid_t pid, int status);

/* metrics.c: Prometheus text on <root>/metrics.sock, and on a loopback port when asked. */
int metrics_open(struct monitor *monitor, int port, struct error *err);

extern const struct ttrpc_method monitor_methods[];
