/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of CRIU's image format that the pager has to read: which pages of a task were left behind.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/image_cursor.h"
#include "checkpoint/page_set.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_FILE_MAX    (256U << 20)
#define PAGEMAP_TASKS_MAX 65536U

#define PAGEMAP_PARENT  1U /* the page is in the images of the round before */
#define PAGEMAP_LAZY    2U
#define PAGEMAP_PRESENT 4U /* in these images */

#define PAGEMAP_NARROW 2U /* fields: the number of pages in 32 bits */
#define PAGEMAP_WIDE   5U /* the same in 64, from newer versions */

struct pagemap_entry {
	uint64_t address, page_count, flags;
	bool is_narrow, is_wide; /* the field that its page count came in; newer versions write both */
};

/* What is behind the magic and the head of a pagemap image, whose pages are in pages-<id>.img. -EPROTO. */
int pagemap_begin(const void *data, size_t size, struct image_cursor *ret_cursor, uint64_t *ret_pages_id, struct error *err);
/* 1: the next entry, 0: there is none, -EPROTO. */
int pagemap_next(struct image_cursor *cursor, struct pagemap_entry *ret_entry, struct error *err);
/* Adds the lazy pages of a pagemap-N.img to set. -EPROTO: it is damaged, or claims more than pages_max. */
int pagemap_parse(const void *data, size_t size, size_t pages_max, struct page_set *set, struct error *err);
/* Reads pagemap-<task>.img; more pages than this host has memory are not believed. */
int pagemap_load(int images_fd, int task, struct page_set *ret_set, struct error *err);

/* The task of "pagemap-12.img": 12; 0 for every other name. */
int pagemap_task_of(const char *file_name);
/* All that have one, in an order that another process finds again. The caller frees. */
int pagemap_list_tasks(int images_fd, int **ret_tasks, size_t *ret_count, struct error *err);
