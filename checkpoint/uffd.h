/* SPDX-License-Identifier: Apache-2.0 */
/*
 * userfaultfd: the calls the pager makes, with their outcomes named.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UFFD_EVENTS_MAX    64
#define UFFD_MESSAGE_BYTES 32 /* what the kernel writes for one */

enum uffd_outcome {
	UFFD_DONE,
	UFFD_EXISTS,  /* the page at the position reached is there already */
	UFFD_RETRY,   /* events have to be read first */
	UFFD_NO_AREA, /* the address is not (or no more) registered */
	UFFD_GONE,    /* the task or its memory is gone */
	UFFD_FAILED,  /* errno tells */
};

enum uffd_event_kind {
	UFFD_EVENT_KIND_FAULT,
	UFFD_EVENT_KIND_FORK,
	UFFD_EVENT_KIND_REMAP,
	UFFD_EVENT_KIND_REMOVE,
	UFFD_EVENT_KIND_UNMAP,
};

struct uffd_event {
	enum uffd_event_kind kind;
	uint64_t address, end;  /* FAULT: address only; REMAP: from, up to */
	uint64_t target;        /* REMAP: to */
	int fd;                 /* FORK: the child's, the receiver owns it */
};

/* Copies pages; *ret_bytes (a multiple of the page size) is what was done before the outcome. Wakes waiters. */
enum uffd_outcome uffd_copy(int fd, uint64_t address, const void *data, size_t size, size_t *ret_bytes);
/* A page that is empty at the source as well. */
enum uffd_outcome uffd_zero(int fd, uint64_t address, size_t size);
/* Who touches the page from now on gets SIGBUS; who waits for it wakes up to that. UFFD_FAILED: the kernel can't (before 6.6). */
enum uffd_outcome uffd_poison(int fd, uint64_t address, size_t size);
void uffd_wake(int fd, uint64_t address, size_t size);

/* Reads what is there into room (UFFD_EVENTS_MAX messages); returns how many messages, 0: nothing; -errno. */
int uffd_read(int fd, void *room);
/* How many of messages (at most UFFD_EVENTS_MAX) mean something to us, in their order. */
size_t uffd_translate(const void *messages, size_t count, struct uffd_event ret_events[static UFFD_EVENTS_MAX]);
/* Messages in a room that was zeroed before. */
size_t uffd_count(const void *room);
/* Everybody who waits tries again, and is told of again. */
void uffd_wake_all(int fd);
/* Whether the memory it is about still exists. */
bool uffd_is_alive(int fd);

/* Whether the kernel reports forks, remaps, removals and unmaps. */
bool uffd_is_complete(void);
