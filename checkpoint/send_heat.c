/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the container uses while its migration is prepared is what it will use first at the target. Rounds of pre-copy need the
 * kernel's marks for themselves, and leave for later what was written since then.
 */
#include "checkpoint/send.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/text.h"
#include "checkpoint/usage.h"

void send_note_usage(const struct sender_state *self)
{
	bool is_known = self->mode == HYDRA__V1__HANDOFF_MODE__HANDOFF_AUTO; /* most often it becomes lazy */

	if (!self->spec->is_dry_run && (is_known || (mode_is_lazy(self->mode) && !mode_has_rounds(self->mode))))
		usage_begin(self->spec->pid);
}

static uint64_t pages_of(const struct heat *heat)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < heat->count; i++)
		pages += heat->ranges[i].pages;
	return pages;
}

static void keep(const struct sender_state *self, const struct heat *heat, const char *name)
{
	struct error err;

	if (heat->count > 0 && heat_write(heat, self->dump.images_fd, name, &err) < 0)
		log_warning("the target is not told how memory was used", "reason=\"%s\"", err.message);
}

char *send_heat(struct sender_state *self)
{
	struct heat hot = {0}, huge = {0};
	char *told;

	if (!mode_is_lazy(self->mode))
		return NULL;
	if (!mode_has_rounds(self->mode))
		usage_read(&hot, self->spec->pid);
	usage_read_huge(&huge, self->spec->pid);
	keep(self, &hot, HEAT_FILE);
	keep(self, &huge, HUGE_FILE);
	told = text_format(",\"hot_pages\":%" PRIu64 ",\"huge_pages\":%" PRIu64, pages_of(&hot), pages_of(&huge) / HUGE_PAGES);
	heat_deinit(&hot);
	heat_deinit(&huge);
	return told;
}
