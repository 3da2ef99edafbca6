/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The availability ledger: for each program ("monitor", "daemon", NAMESPACE/ID of a shim) the state it is in, the time it spent
 * in each state, and the last intervals. Times are CLOCK_BOOTTIME. Knows nothing of files and processes (ledger_file.h, account.c).
 */
#pragma once

#include "ledger.pb-c.h"
#include "monitor/migration_book.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LEDGER_SUBJECTS_MAX  4096
#define LEDGER_INTERVALS_MAX 1024
#define LEDGER_NAME_SIZE     160
#define LEDGER_WHY_SIZE      64
/* Why a state is unknown that a monitor could not see; ledger_lost() knows more when somebody tells it. */
#define LEDGER_UNSEEN        "there was no monitor"

typedef Hydra__V1__LedgerState ledger_state;

struct ledger_subject {
	Hydra__V1__LedgerSubject facts; /* its strings are those below */
	char name[LEDGER_NAME_SIZE];
	char why[LEDGER_WHY_SIZE];
	struct ledger_subject *next;
};

struct ledger_interval {
	Hydra__V1__LedgerInterval facts;
	char name[LEDGER_NAME_SIZE];
	char why[LEDGER_WHY_SIZE];
};

struct ledger {
	struct ledger_subject *subjects; /* in the order in which they came */
	size_t subject_count;
	Hydra__V1__LedgerSubject shims;  /* sums over all there ever were: restarts, repairs, repair_ns */
	struct ledger_interval *intervals; /* that have ended; number N is at N % LEDGER_INTERVALS_MAX */
	uint64_t interval_count;
	uint64_t last_ns; /* of the last change */
	struct migration_book migrations;
};

struct ledger_change {
	const char *name;
	ledger_state state;
	uint64_t time_ns;
	pid_t pid;       /* 0: that of before */
	const char *why;
};

/* False: no memory. */
bool ledger_init(struct ledger *self);
void ledger_deinit(struct ledger *self);

/* False: it changes nothing, or there is no room for another subject. */
bool ledger_apply(struct ledger *self, const struct ledger_change *change);
/* The monitor before was lost at time_ns: what is unknown since then (or wrongly taken to be lost later) is put right.
 * False: it changes nothing. */
bool ledger_lost(struct ledger *self, uint64_t time_ns);

struct ledger_subject *ledger_find(const struct ledger *self, const char *name);
bool ledger_is_shim(const struct ledger_subject *subject);
/* Subjects that have ended and of whom is_gone() says so are forgotten; the sums stay. */
void ledger_forget(struct ledger *self, bool (*is_gone)(const struct ledger_subject *subject, void *context), void *context);

/* The first interval that is still known has this number; the last one interval_count - 1. */
uint64_t ledger_first_interval(const struct ledger *self);
struct ledger_interval *ledger_interval_at(const struct ledger *self, uint64_t number);

/* For files: what was written with Hydra__V1__LedgerSubject and _Interval. False: no room. */
bool ledger_restore_subject(struct ledger *self, const Hydra__V1__LedgerSubject *facts);
void ledger_restore_interval(struct ledger *self, const Hydra__V1__LedgerInterval *facts);
/* A copy with the times until now counted, the mean time to repair worked out and CLOCK_REALTIME (boot time + offset_ns). */
void ledger_view(const struct ledger_subject *subject, uint64_t now_ns, uint64_t offset_ns, Hydra__V1__LedgerSubject *ret_facts);
