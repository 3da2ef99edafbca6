/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hydra-pager looks into of the images that another host sent. The first byte says into how many equal parts the rest falls: a list of
 * used memory, a task's mappings, the pagemap of a round, and the last pagemap; and a thread's registers, which are our own.
 */
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/heat.h"
#include "checkpoint/image_sleeps.h"
#include "checkpoint/local_pages.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void change(const unsigned char *data, size_t size, const struct local_pages *round, const struct local_areas *areas)
{
	struct local_pages pages = {0};
	auto_text image = TEXT_EMPTY;
	struct error err;

	(void) local_pagemap_change(data, size, round, areas, &pages, &image, &err);
	local_pages_deinit(&pages);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct local_areas areas = {0};
	struct local_pages round = {0};
	struct heat heat = {0};
	auto_free unsigned char *core = NULL;
	struct error err;
	uint64_t id;
	size_t part;

	if (size < 2)
		return 0;
	part = (size - 1) / (1U + data[0] % 4);
	data++;
	if (heat_parse(&heat, data, part, &err) == 0)
		heat_thin(&heat, 16);
	heat_deinit(&heat);
	core = malloc(part + 1);
	if (core != NULL) {
		memcpy(core, data, part);
		(void) image_sleeps_resume_in(core, part);
	}
	if (local_areas_parse(&areas, data, part, &err) == 0 && local_round_parse(&round, &id, data + (size - 1 - part) / 2, part, &err) == 0)
		change(data + (size - 1 - part), part, &round, &areas);
	free(areas.items);
	local_pages_deinit(&round);
	return 0;
}
