/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel told the pager once and will not tell again, and who was given which userfaultfd: with it and the
 * pagemaps another process can go on where a killed one was. A file mapped by all of them, in the byte order of the
 * machine; a store is durable enough, because only processes die here (with the machine dies the memory, too).
 *
 * The kernel writes its messages straight into the file: there is no moment at which one is nowhere.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGER_JOURNAL "pager.journal"

enum journal_kind { JOURNAL_EVENTS = 1, JOURNAL_KEPT };

struct journal_entry {
	uint32_t kind;
	uint32_t space; /* number of an address space, in the order they came */
	uint32_t task;
	uint32_t count; /* of messages behind this */
};

struct pager_journal {
	struct journal_head *map; /* NULL: nothing is kept */
};

/* Makes folder/pager.journal. */
int pager_journal_make(struct pager_journal *self, const char *folder, struct error *err);
/* -ENOENT: there is none, -EPROTO: it is of no use. */
int pager_journal_open(struct pager_journal *self, const char *folder, struct error *err);
void pager_journal_close(struct pager_journal *self);

/* Where the kernel shall write messages about a space. Never NULL: without a journal, or when it is full (then it is of no
 * use any more), they get lost with the process. */
void *pager_journal_room(struct pager_journal *self, uint32_t space);
/* What was written there has to be kept. */
void pager_journal_keep(struct pager_journal *self, size_t count);
/* A descriptor is about to be given away; _done after it was. */
void pager_journal_kept(struct pager_journal *self, uint32_t space, uint32_t task);
void pager_journal_kept_done(struct pager_journal *self);

/* The entry at *cursor (0: the first); moves it on. *ret_is_begun: its writer died over it. False: no more. */
bool pager_journal_next(const struct pager_journal *self, size_t *cursor, struct journal_entry *ret_entry,
			const void **ret_messages, bool *ret_is_begun);
