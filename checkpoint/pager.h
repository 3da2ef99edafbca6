/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Target side of post-copy: owns the userfaultfds of the restored tasks and fills their memory, what they wait for
 * first. A page that exists at the source is never replaced by zeros: without the source the tasks wait.
 */
#pragma once

#include "base/error.h"
#include "base/event_loop.h"
#include "checkpoint/bulk_window.h"
#include "checkpoint/fault_window.h"
#include "checkpoint/frames.h"
#include "checkpoint/heat.h"
#include "checkpoint/images.h"
#include "checkpoint/local_pages.h"
#include "checkpoint/page_set.h"
#include "checkpoint/pager_journal.h"
#include "checkpoint/proc.h"
#include "checkpoint/stalls.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGER_TASKS_MAX PAGEMAP_TASKS_MAX

struct pager;

/* The memory of one task (or of a child it forked meanwhile). */
struct pager_space {
	struct pager *pager;
	size_t number; /* in the order they came */
	struct page_set pages;
	struct event_source source;
	int task;        /* pid in the container when it was frozen */
	int fd;          /* userfaultfd, FD_NONE until it arrives and after it is of no use */
	bool is_gone;    /* the task ended or executed another program */
	size_t cursor_range, cursor_page; /* where the background goes on */
	struct fault_window window;
	struct stalls stalls;
	size_t local_range, local_page; /* where placing what is on this host goes on */
};

/* What was of huge pages at the source, and becomes it again. */
struct pager_huge {
	struct heat ranges;
	struct heat_cursor cursor;
	struct proc_tasks tasks; /* as they are now */
	bool is_begun, is_over;
};

struct pager {
	struct event_loop *loop;
	struct link *link;
	struct link *fault_link; /* for what tasks wait for; NULL: the same */
	struct pager_journal journal;
	int images_fd;
	struct local_pages *locals; /* of each task that was frozen */
	size_t local_count;
	int listen_fd, criu_fd, keeper_fd;
	struct event_source listen_source, criu_source, keeper_source;
	struct pager_space **spaces;
	size_t space_count, cursor_space;
	uint64_t pages_total, pages_done, fault_count;
	struct bulk_window bulk;
	struct heat heat; /* what the background begins with */
	struct heat_cursor heat_cursor;
	struct pager_huge huge;
	size_t follow;    /* requests that follow a task which goes through its memory in order, before that */
	bool has_jumped;  /* the background followed a fault and has left something behind */
	bool is_sealed;   /* the source gives checksums */
	bool is_restored; /* CRIU has set up every task: prefetching may begin */
	bool has_failed;
	struct error error; /* when has_failed */
};

/* Where everything is: images with the pagemaps, the folder of the journal. The caller keeps it. */
struct pager_places {
	const char *images, *folder;
};

/* Reads the pagemaps and listens at images/lazy-pages.socket. link and loop stay the caller's. */
int pager_start(struct pager *self, struct event_loop *loop, struct link *link, const struct pager_places *places,
		struct error *err);
/* Goes on where a killed pager was: keeper_fd (taken) is a new socket to who kept the userfaultfds, who sends them first, in
 * the order they came ("uffd" each, then "all"). -ENOTRECOVERABLE: memory is lost, the tasks must not run on. */
int pager_take_over(struct pager *self, struct event_loop *loop, struct link *link, const struct pager_places *places,
		    int keeper_fd, struct error *err);
/* Closes everything: pages not yet here would read as zeros, unless somebody else holds the descriptors too. */
void pager_stop(struct pager *self);

/* For who keeps userfaultfds of a pager that died when all was done: takes what is sent, and says "complete". */
void pager_take_over_complete(int keeper_fd);

/* A duplicate of every userfaultfd goes there ("uffd TASK"), at the end "complete"; takes fd. When the other side has
 * closed its duplicates and the socket, the pager is finished. */
void pager_set_keeper(struct pager *self, int fd);

/* A PAGES frame arrived. -EPROTO, -EBADMSG: nothing of it was installed. */
int pager_receive(struct pager *self, const struct frame *frame, struct error *err);
/* Asks for what every program uses first: its stack, its small data. To be called when the tasks exist, that they find it when they
 * run. */
int pager_prefetch_small(struct pager *self, struct error *err);
/* Asks for more pages in the background when the network has room for them. */
int pager_prefetch(struct pager *self, struct error *err);

/* Places some of the pages that are on this host already; false: there are none to be placed now. */
bool pager_place_local(struct pager *self);

/* The fault link is there (NULL: no more); what tasks wait for is asked for again over the one that is left. */
void pager_set_fault_link(struct pager *self, struct link *link);
/* After a new connection: nothing that was asked for will come any more. */
void pager_ask_again(struct pager *self);

/* Every page is here (or not wanted any more). */
bool pager_is_complete(const struct pager *self);
/* Tells the keeper, after which pager_is_finished becomes true; keeps answering until then. */
void pager_complete(struct pager *self);
bool pager_is_finished(const struct pager *self);
/* When every page is here: makes one huge page of what was one at the source. init: of the tasks. False: there is no more. */
bool pager_collapse_next(struct pager *self, pid_t init);
/* What has not come will not come: who touches it gets SIGBUS. *ret_pages: how many. Fails on kernels before 6.6. */
int pager_poison(struct pager *self, uint64_t *ret_pages, struct error *err);
/* The same, but the keeper kills the tasks. False: there is no keeper. */
bool pager_give_up(struct pager *self);
/* Forgets tasks that have ended: while pages arrive that is noticed without it. */
void pager_check_tasks(struct pager *self);
