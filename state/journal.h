/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a container: events with sequence numbers from 1, without holes, replayed from any number.
 *
 * Two files, journal and journal.1 (the older half); entries are size, CRC-32C, Event. A torn last entry, as a crash
 * leaves it, is cut off at the next open. Bounded: when journal is full it becomes journal.1.
 */
#pragma once

#include "base/error.h"
#include "container.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_FILE_MAX  (64U << 10)
#define JOURNAL_ENTRY_MAX 4096U

typedef Hydra__V1__Event event;

struct journal {
	int dir_fd; /* the run directory's, not owned */
	int fd;
	uint64_t size;
	uint64_t last_sequence;
};

/* Makes it when missing, repairs it when torn. */
int journal_open(struct journal *ret_self, int dir_fd, struct error *err);
void journal_close(struct journal *self);
/* Gives new_event its sequence number and time (when 0) and appends it. */
int journal_append(struct journal *self, event *new_event, struct error *err);

typedef bool journal_visitor(const event *entry, void *context);
/* Visits entries with a sequence above since, in order, until visit gives false; works on journals others write. */
int journal_replay(int dir_fd, uint64_t since, journal_visitor *visit, void *context, struct error *err);

/* Visits the whole entries in bytes; gives how many bytes these were. */
size_t journal_parse(const uint8_t *bytes, size_t size, journal_visitor *visit, void *context);
