/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source side: pages of frozen tasks, read from their memory when the target asks.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/compress_choice.h"
#include "checkpoint/frames.h"
#include "checkpoint/proc.h"

#include <stdbool.h>
#include <stdint.h>

#define PAGE_REQUESTS_MAX 65536U

struct page_queue {
	struct page_frame *items;
	size_t from, to, capacity;
};

struct page_server {
	struct proc_tasks tasks;
	int *memory_fds; /* /proc/PID/mem of each task, FD_NONE until needed */
	struct page_queue faults; /* came over the connection for what tasks wait for, and are answered there */
	struct page_queue urgent, background;
	struct compress_choice choice; /* for the background; nobody waits for a processor */
	bool is_choosing;
	enum compress_method method; /* unless is_choosing */
	uint64_t faults_asked; /* requests that a task waits for */
	uint64_t pages_sent;
};

/* The tasks must be frozen and stay so. */
int page_server_init(struct page_server *self, pid_t init, struct error *err);
void page_server_deinit(struct page_server *self);

/* The connection broke: what was asked for will be asked for again. */
void page_server_forget(struct page_server *self);
/* The connection for what tasks wait for broke: the same for what came over it. */
void page_server_forget_faults(struct page_server *self);
/* Remembers a PAGE_REQUEST. */
int page_server_request(struct page_server *self, const struct frame *frame, bool is_from_faults, struct error *err);
/* Queues answers on the link that the questions came over, urgent ones first, until limit bytes wait there; faults may be NULL.
 * -EFAULT: a page cannot be read. */
int page_server_produce(struct page_server *self, struct link *faults, struct link *link, size_t limit, struct error *err);
bool page_queue_has_work(const struct page_queue *self);
