/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page "stdio" of a run directory (docs/state-format.md): which bytes of a container's output wait, and what was counted.
 * Its shim writes it (shim/queue.h); others may look at the counters, whatever the shim is doing.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STDIO_PAGE_NAME    "stdio"
#define STDIO_PAGE_SIZE    4096
#define STDIO_PAGE_VERSION 1

/* Bytes of one stream that were read at once. */
struct queue_chunk {
	uint64_t start;   /* of its header in the file; the bytes follow that */
	uint64_t time_ns;
	uint32_t size;
	uint32_t is_error;
};

/* The start of a character that has no end yet: taken from the queue, not in the log. */
struct queue_rest {
	uint8_t bytes[4];
	uint32_t size;
};

/* What is being written to the log: the file's size tells a successor whether it was. */
struct queue_intent {
	uint64_t inode;
	uint64_t size_before;
	uint64_t marks;       /* so many dropped bytes */
	uint32_t size;        /* 0: nothing is being written */
	uint32_t taken;       /* bytes of the application in it */
	uint32_t consumed;    /* of these, from the oldest chunk */
	uint32_t is_error;
	uint32_t ends_line;
	struct queue_rest rest; /* what there is then */
};

struct queue_state {
	uint64_t read;     /* bytes of the application: read = written + dropped + what waits */
	uint64_t written;
	uint64_t dropped;
	uint64_t unmarked; /* dropped, and the log does not say so yet */
	uint64_t tail;     /* the oldest chunk */
	uint64_t head;     /* behind the newest */
	uint64_t consumed; /* bytes of the oldest chunk that are written or a rest */
	struct queue_chunk newest; /* its header is not in the file */
	struct queue_rest rests[2];
	struct queue_intent intent;
	uint32_t is_filling;   /* newest is being read */
	uint32_t is_in_memory; /* the bytes are not in "spill" */
	uint32_t is_mid_line;  /* the log's last line has no end */
	uint32_t delivering;   /* enum queue_delivering */
};
_Static_assert(sizeof(struct queue_state) == 168, "every binary of this version finds the same state");

/* What the kernel is moving into a pipe. */
enum queue_delivering { DELIVERING_NOTHING, DELIVERING_CHUNK, DELIVERING_MARK };

/* Two states, of which one counts: a change is made in the other one and becomes true with a single store. */
struct queue_page {
	uint32_t version;
	_Atomic uint32_t current;
	int64_t filled; /* moved by the kernel while newest is read */
	struct queue_state states[2];
	uint32_t is_partial; /* counted anew, because what was there before was not understood: the totals are unknown */
	int64_t delivered; /* moved by the kernel while something is delivered to a pipe; its position in what is */
};
_Static_assert(sizeof(struct queue_page) <= STDIO_PAGE_SIZE, "the state fits a page");

/* Bytes of the application: read = written + dropped + what waits. */
struct stdio_counts {
	uint64_t read, written, dropped;
};

/* False: there was no output yet, or what is there, or was before, is of another version: the counters are unknown. */
bool stdio_page_count(int dir_fd, struct stdio_counts *ret_counts);
