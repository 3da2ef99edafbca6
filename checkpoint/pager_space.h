/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager's work on one address space. Internal to the pager.
 */
#pragma once

#include "checkpoint/pager.h"
#include "checkpoint/uffd.h"

/* Reads and carries out everything the kernel has to say about it. */
void pager_space_handle_events(struct pager_space *self);
/* Installs those of the pages (addresses as at the source) that it still wants. data NULL: they are empty. */
void pager_space_install(struct pager_space *self, uint64_t source, size_t page_count, const unsigned char *data);
/* pager_local.c: a task waits for a page that is on this host: it, and what is around it. */
void pager_place_around(struct pager_space *self, const struct page_range *range, size_t index);
int pager_load_local(struct pager *self, const int *tasks, size_t count, struct error *err);
/* Marks what is on this host. */
void pager_find_local(struct pager_space *self);
/* The task is gone: nothing has to come any more. */
void pager_space_give_up(struct pager_space *self);

/* One message, applied to the pages alone. */
int pager_space_apply(struct page_set *pages, const struct uffd_event *event);

/* pager.c */
/* Takes fd. */
void pager_watch_keeper(struct pager *self, int fd);
int pager_prepare(struct pager *self, struct event_loop *loop, struct link *link, const struct pager_places *places,
		  struct error *err);
/* Takes pages. NULL: out of memory, or of numbers. */
struct pager_space *pager_add_space(struct pager *self, int task, struct page_set *pages);
/* Takes fd. */
int pager_attach(struct pager *self, struct pager_space *space, int fd);
int pager_adopt(struct pager *self, int task, int fd, struct page_set *pages);
int pager_request(struct pager *self, const struct pager_space *space, const struct page_range *range, size_t index,
		  size_t count, bool is_urgent);
void pager_fail(struct pager *self, const struct error *error);
