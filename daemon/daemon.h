/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydrad: what is common to its parts.
 *
 * It owns nothing that it can't rebuild: containers belong to their shims, and what takes time is done by workers
 * (hydra-setup, hydra-pager) that outlive it.
 */
#pragma once

#include "base/event_loop.h"
#include "base/notify.h"
#include "base/reexec.h"
#include "daemon.pb-c.h"
#include "proto/ttrpc_client.h"
#include "proto/replacement.h"
#include "proto/ttrpc_server.h"
#include "seal.pb-c.h"
#include "state/record.h"

#include <stdbool.h>

struct worker;
struct recent_events;
struct held;

struct daemon {
	struct event_loop loop;
	struct ttrpc_server server;
	const char *root;
	int lock_fd;
	int listen_fd;
	int migration_fd; /* where other hosts connect; FD_NONE: not configured */
	struct event_source migration_source;
	const char *migration_address;
	const char *certificates;
	struct entry *entries;
	struct worker *workers;
	struct recent_events *events;
	struct event_source progress_source; /* of migrations */
	struct ttrpc_call *waiting_migrations;
	uint64_t started_ns;     /* realtime */
	uint64_t started_mono_ns;
	uint64_t recovery_us;    /* 0: still finding out */
	unsigned asking;         /* shims whose first answer is awaited */
	unsigned errands;        /* requests that workers carry out */
	const char *const *argv; /* what we were started with */
	struct replacement upgrade;
	struct held *held;       /* requests that wait for it */
	struct watchdog watchdog;
};

/* entries.c: the containers, as their shims tell. */
struct entry {
	struct daemon *daemon;
	char *namespace;
	char *id;
	record *record;              /* NULL: not read yet; see entry_know() */
	Hydra__V1__ExitRecord *exit;
	struct ttrpc_client client;
	bool has_client;
	bool is_reachable;
	bool is_first_answer_due;
	bool is_events_due;          /* its events are to be asked for */
	bool is_reported;            /* that it does not answer */
	uint64_t last_sequence;      /* of its journal */
	struct event_timer timer;    /* of the first answer, then of looking again */
	uint64_t look_again_ns;      /* doubled each time in vain */
	struct entry *next;
};

/* Reads all run directories and asks all shims at once. */
int entries_recover(struct daemon *daemon, struct error *err);
struct entry *entry_find(struct daemon *daemon, const char *namespace, const char *id);
/* Reads its record if its shim has not told it yet. False: the container is gone, and the entry with it. */
bool entry_know(struct entry *self);
/* Looks at the container (again): its disk state, its shim. Makes or drops the entry. */
void entry_refresh(struct daemon *daemon, const char *namespace, const char *id);
void entry_free(struct entry *self);
/* Finds containers that came without our doing. */
void entries_rescan(struct daemon *daemon);

/* report.c: for the monitor's ledger. */
void report_start(struct daemon *daemon);
void report_shim(struct daemon *daemon, const char *namespace, const char *id, bool is_reachable);

/* service.c */
extern const struct ttrpc_method daemon_methods[];

/* events.c: the last events of all containers, numbered. */
int events_init(struct daemon *daemon, struct error *err);
void events_deinit(struct daemon *daemon);
void events_add(struct daemon *daemon, const Hydra__V1__Event *event);
void events_answer(struct daemon *daemon, struct ttrpc_call *call, uint64_t since, bool wait);
/* For and from another binary (upgrade.c). False: no memory. */
bool events_seal(const struct daemon *daemon, Hydra__V1__SealedDaemon *sealed);
void events_unseal(struct daemon *daemon, const Hydra__V1__SealedDaemon *sealed);

/* worker.c: programs that do what takes time. message: what it wrote on standard error. */
typedef void worker_done(struct daemon *daemon, int exit_status, const char *message, void *context);
/* input: bytes for its standard input. Takes nothing; the worker goes on when we die. */
int worker_start(struct daemon *daemon, const char *program, const char *const *arguments, const void *input, size_t size,
		 worker_done *done, void *context, struct error *err);
/* The same without input; fd (FD_NONE: none) becomes its descriptor 3. */
int worker_start_with(struct daemon *daemon, const char *program, const char *const *arguments, int fd, worker_done *done,
		      void *context, struct error *err);
/* SIGCHLD. */
void workers_reap(struct daemon *daemon);
bool workers_seal(const struct daemon *daemon, Hydra__V1__SealedDaemon *sealed);
void workers_unseal(struct daemon *daemon, const Hydra__V1__SealedDaemon *sealed);

/* upgrade.c: hydra.v1.Daemon.Upgrade. */
void upgrade_ask(struct ttrpc_call *call, const ProtobufCMessage *message);
/* Something came to its end: may be the time for an upgrade that waits. */
void upgrade_consider(struct daemon *daemon);
/* True: an upgrade waits, and so does the call from now on. */
bool upgrade_holds(struct ttrpc_call *call, const ProtobufCMessage *message);
/* What the binary before left; -EPROTO: not understood. Free with message_free(). */
int upgrade_read(const struct reexec_options *options, Hydra__V1__SealedDaemon **ret_sealed, struct error *err);
/* Goes on as it did, once everything is known and listens. */
void upgrade_take_over(struct daemon *self, const Hydra__V1__SealedDaemon *sealed, const struct reexec_options *options);

/* hosts.c: names of hosts (state/hosts.h). */
void service_add_host(struct ttrpc_call *call, const ProtobufCMessage *message);
void service_remove_host(struct ttrpc_call *call, const ProtobufCMessage *message);
/* A request to migrate names its host by an address or by a name. */
int hosts_resolve(struct daemon *daemon, const Hydra__V1__MigrateRequest *request, Hydra__V1__KnownHost **ret_host, struct error *err);

/* farewells.c: for departures that a restart of the host has cut. */
void farewells_begin(struct daemon *daemon);

/* migration.c; listen_fd: FD_NONE, or that of the binary before. */
int migrations_init(struct daemon *daemon, int listen_fd, struct error *err);
/* preflight.c: what would be in the way of a migration. */
void service_preflight(struct ttrpc_call *call, const ProtobufCMessage *message);
/* migration.c: where to and how, and the words for hydra-setup that say so; the array has room for MIGRATE_WORDS_MAX, and its end is NULL. */
#define MIGRATE_WORDS_MAX 58
struct migrate_place {
	const Hydra__V1__KnownHost *host;
	const char *migration, *bandwidth;
};
int migrate_check(struct daemon *daemon, const Hydra__V1__MigrateRequest *request, Hydra__V1__KnownHost **ret_host, struct error *err);
size_t migrate_words(const struct daemon *daemon, const Hydra__V1__MigrateRequest *request, const struct migrate_place *place,
		     const char **ret_words);
void service_migrate(struct ttrpc_call *call, const ProtobufCMessage *message);
void service_migration(struct ttrpc_call *call, const ProtobufCMessage *message);
void service_cancel_migration(struct ttrpc_call *call, const ProtobufCMessage *message);
