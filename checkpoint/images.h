/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of CRIU's image format that the pager has to read: which pages of a task were left behind.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/page_set.h"

#include <stddef.h>
#include <stdint.h>

#define IMAGE_FILE_MAX (256U << 20)

/* Adds the lazy pages of a pagemap-N.img to set. -EPROTO: it is damaged, or claims more than pages_max. */
int pagemap_parse(const void *data, size_t size, size_t pages_max, struct page_set *set, struct error *err);
/* Reads pagemap-<task>.img; more pages than this host has memory are not believed. */
int pagemap_load(int images_fd, int task, struct page_set *ret_set, struct error *err);

/* The task of "pagemap-12.img": 12; 0 for every other name. */
int pagemap_task_of(const char *file_name);
