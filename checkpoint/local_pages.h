/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a task are on this host already: those of the round of a hybrid migration that were not written since. CRIU would put
 * them in place while the container stands still, so its pagemap is changed to say that they come later.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct local_run {
	uint64_t address; /* at the source when it was frozen */
	uint64_t pages;
	uint64_t offset;  /* in the file with the pages of the round */
};

struct local_pages {
	int task;
	struct local_run *runs; /* by address */
	size_t count, capacity;
	const unsigned char *map; /* the file */
	size_t size;
};

/* Of all tasks: decides, changes their pagemaps in images_fd, and keeps a list beside them, for who takes over. round: the folder with
 * the images of the round, below. */
int local_pages_plan(int images_fd, const char *round, struct error *err);
/* What was decided; nothing when there is no list. */
int local_pages_load(struct local_pages *ret_pages, int images_fd, int task, struct error *err);
void local_pages_deinit(struct local_pages *self);
/* The page that was at source, and *ret_count with it in one piece; NULL: it is not here. */
const unsigned char *local_pages_find(const struct local_pages *self, uint64_t source, size_t *ret_count);

/* Parts of local_pages_plan(). */
struct local_area {
	uint64_t start, end;
};

struct local_areas {
	struct local_area *items;
	size_t count;
};

struct text;

/* -ENOMEM. Runs come in the order of their addresses. */
int local_pages_add(struct local_pages *self, const struct local_run *run);
/* Mappings of a task whose pages may come later, from its mm-N.img. */
int local_areas_parse(struct local_areas *ret_areas, const void *data, size_t size, struct error *err);
/* Where the pages of the round are, from its pagemap. */
int local_round_parse(struct local_pages *ret_round, uint64_t *ret_pages_id, const void *data, size_t size, struct error *err);
/* A pagemap, changed, to ret_image; what it leaves for later to ret_pages. */
int local_pagemap_change(const void *data, size_t size, const struct local_pages *round, const struct local_areas *areas,
			 struct local_pages *ret_pages, struct text *ret_image, struct error *err);
