/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl top: what its parts share. Shims are asked by hydractl itself, all at once, over connections that stay: one that does
 * not answer delays nobody.
 */
#pragma once

#include "base/event_loop.h"
#include "cli/cli.h"
#include "proto/ttrpc_client.h"

#include <stdbool.h>

/* What a shim said at one moment. */
struct top_sample {
	bool is_there;
	bool is_partial; /* the counters of output began anew at some time */
	uint64_t time_ns; /* CLOCK_REALTIME */
	uint64_t cpu_ns, memory_bytes, memory_limit_bytes, pids;
	uint64_t output_bytes, dropped_bytes, spilled_bytes;
};

struct top_row {
	struct top *top;
	char *namespace;
	char *id;
	record *record;   /* as the shim says, else from disk */
	struct ttrpc_client client;
	bool has_client;
	bool is_seen;     /* its run directory, this time */
	unsigned awaited; /* answers */
	struct top_sample now, before;
	struct top_row *next;
};

enum top_order { TOP_BY_NAME, TOP_BY_CPU, TOP_BY_MEMORY };

struct top {
	const struct cli *cli;
	struct event_loop loop;
	struct event_timer timer; /* of the next look, or of the patience with this one */
	uint64_t interval_ns;
	uint64_t began_ns;        /* this look; CLOCK_MONOTONIC */
	bool is_looking;
	bool is_once;
	bool is_screen;           /* redrawn in place */
	bool shows_all, all_namespaces;
	enum top_order order;
	struct top_row *rows;     /* by namespace and name */
	Hydra__V1__LedgerResponse *ledger; /* NULL: no monitor */
};

/* top_rows.c: asks everybody; top_answered() is called with each answer. */
void top_ask(struct top *top);
/* Answers that are still to come. */
unsigned top_awaited(const struct top *top);
void top_answered(struct top *top);
void top_forget_all(struct top *top);

/* top_print.c */
void top_print(struct top *top);
