/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following the journals of containers, of one, of all in a namespace or of all, also of those made later. They are files: no daemon and
 * no shim is needed for it, and none that dies or is replaced is in the way. Each event is given once, in the order of its journal.
 */
#pragma once

#include "base/error.h"
#include "state/journal.h"

struct journals;

struct journals_options {
	const char *root;
	const char *namespace; /* NULL: all of them */
	const char *id;        /* NULL: all containers */
	void (*give)(const char *namespace, const event *entry, void *context);
	/* So many events of a container were dropped by its journal before they could be read. */
	void (*miss)(const char *namespace, const char *id, uint64_t count, void *context);
	void *context;
};

/* The journals as they are now; their events so far are not given. */
int journals_open(struct journals **ret_self, const struct journals_options *options, struct error *err);
void journals_close(struct journals *self);
/* Gives the events so far: those above since (of one container), or not older than since_ns; of all containers in the order of
 * their times. Must come before journals_wait(). */
int journals_replay(struct journals *self, uint64_t since, uint64_t since_ns, struct error *err);
/* Waits until there are further events, and gives them. False: the only container that is followed has ended, or is gone. */
bool journals_wait(struct journals *self);
