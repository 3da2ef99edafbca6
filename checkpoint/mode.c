/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/mode.h"

#include <errno.h>
#include <string.h>

struct mode {
	const char *name;
	bool is_lazy, has_rounds;
};

static const struct mode modes[] = {
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_POST_COPY] = {"post-copy", true, false},
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_PRE_COPY] = {"pre-copy", false, true},
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_HYBRID] = {"hybrid", true, true},
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_COLD] = {"cold", false, false},
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_AUTO] = {"auto", false, false},
};

#define MODE_COUNT (sizeof(modes) / sizeof(modes[0]))

int mode_parse(const char *name, handoff_mode *ret_mode)
{
	for (size_t i = 0; i < MODE_COUNT; i++) {
		if (strcmp(modes[i].name, name) == 0) {
			*ret_mode = (handoff_mode) i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Numbers of a later version come from other hosts. */
static const struct mode *mode_at(handoff_mode mode)
{
	static const struct mode unknown = {"unknown", false, false};

	return (size_t) mode < MODE_COUNT ? &modes[mode] : &unknown;
}

const char *mode_name(handoff_mode mode)
{
	return mode_at(mode)->name;
}

bool mode_is_lazy(handoff_mode mode)
{
	return mode_at(mode)->is_lazy;
}

bool mode_has_rounds(handoff_mode mode)
{
	return mode_at(mode)->has_rounds;
}

handoff_mode mode_choose(const struct mode_facts *facts, const char **ret_why)
{
	if (facts->has_lazy_pages) {
		*ret_why = "the container stands still for the shortest time, whatever it writes";
		return HYDRA__V1__HANDOFF_MODE__HANDOFF_POST_COPY;
	}
	if (facts->tracks_writes) {
		*ret_why = "the target cannot serve memory later (userfaultfd), so that most of it goes while the container runs";
		return HYDRA__V1__HANDOFF_MODE__HANDOFF_PRE_COPY;
	}
	*ret_why = "the target cannot serve memory later (userfaultfd), and the source's kernel does not track written pages";
	return HYDRA__V1__HANDOFF_MODE__HANDOFF_COLD;
}
