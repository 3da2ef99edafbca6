/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of what is on this host, for who serves it. Internal to local pages.
 */
#pragma once

#include "checkpoint/local_pages.h"

#define LOCAL_LIST "hydra-local-%d.img"

/* Where the pages are: round/pages-<pages_id>.img. */
struct local_list {
	const char *round;
	uint64_t pages_id;
};

int local_list_write(const struct local_pages *self, const struct local_list *list, int images_fd, struct error *err);
