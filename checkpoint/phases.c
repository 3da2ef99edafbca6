/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/phases.h"

#include "base/fault.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define STATE_PREFIX "HANDOVER_"

static const char *const sides[] = {[SIDE_SOURCE] = "source", [SIDE_TARGET] = "target"};
static const char *const occasions[] = {[PHASE_NORMAL] = "normal", [PHASE_IN_ROUNDS] = "rounds", [PHASE_EXCEPTION] = "exception"};

static const struct migration_phase_info phases[MIGRATION_PHASES] = {
	[SOURCE_PREFLIGHT] = {SIDE_SOURCE, "preflight", PHASE_NORMAL, "the target is asked whether it can take the container, which runs"},
	[SOURCE_SYNC] = {SIDE_SOURCE, "sync", PHASE_NORMAL, "its writable layer is copied while it runs"},
	[SOURCE_PRE_COPY] = {SIDE_SOURCE, "pre-copy", PHASE_IN_ROUNDS, "its memory is copied while it runs (modes pre-copy and hybrid)"},
	[SOURCE_FREEZE] = {SIDE_SOURCE, "freeze", PHASE_NORMAL, "it stands still from here on; CRIU writes what its tasks are"},
	[SOURCE_IMAGES] = {SIDE_SOURCE, "images", PHASE_NORMAL, "what changed in its layer, and CRIU's images, are sent"},
	[SOURCE_VOTE] = {SIDE_SOURCE, "vote", PHASE_NORMAL, "the target restores it, and says when its copy could run"},
	[SOURCE_COMMITTED] = {SIDE_SOURCE, "committed", PHASE_NORMAL, "the target alone decides from here on"},
	[SOURCE_PAGING] = {SIDE_SOURCE, "paging", PHASE_NORMAL, "the copy runs; its memory is sent"},
	[SOURCE_RECONNECTING] = {SIDE_SOURCE, "reconnecting", PHASE_EXCEPTION, "the target is asked again and again what became of it"},
	[SOURCE_DONE] = {SIDE_SOURCE, "done", PHASE_NORMAL, "the target has everything"},
	[SOURCE_FAILED] = {SIDE_SOURCE, "failed", PHASE_EXCEPTION, "it runs here as before"},
	[SOURCE_IN_DOUBT] = {SIDE_SOURCE, "in-doubt", PHASE_EXCEPTION, "it is stopped here until an administrator decides"},
	[TARGET_PREFLIGHT] = {SIDE_TARGET, "preflight", PHASE_NORMAL, "an offer is looked at"},
	[TARGET_PREPARE] = {SIDE_TARGET, "prepare", PHASE_NORMAL, "folders, cgroup, network and shim are made, the layer comes"},
	[TARGET_PRE_COPY] = {SIDE_TARGET, "pre-copy", PHASE_IN_ROUNDS, "memory comes while it runs at the source (modes pre-copy and hybrid)"},
	[TARGET_IMAGES] = {SIDE_TARGET, "images", PHASE_NORMAL, "the rest of the layer and CRIU's images come"},
	[TARGET_RESTORE] = {SIDE_TARGET, "restore", PHASE_NORMAL, "CRIU builds the tasks"},
	[TARGET_PREPARED] = {SIDE_TARGET, "prepared", PHASE_NORMAL, "they exist, and have not run"},
	[TARGET_COMMITTED] = {SIDE_TARGET, "committed", PHASE_NORMAL, "the container belongs to this host"},
	[TARGET_PAGING] = {SIDE_TARGET, "paging", PHASE_NORMAL, "it runs; its memory comes"},
	[TARGET_SOURCE_LOST] = {SIDE_TARGET, "source-lost", PHASE_EXCEPTION, "it waits for memory until the source comes again"},
	[TARGET_DONE] = {SIDE_TARGET, "done", PHASE_NORMAL, "all of it is here"},
	[TARGET_FAILED] = {SIDE_TARGET, "failed", PHASE_EXCEPTION, "nothing of it is left here"},
	[TARGET_BROKEN] = {SIDE_TARGET, "broken", PHASE_EXCEPTION, "the copy has lost its memory"},
};

/* Which side writes which. */
static const struct {
	enum migration_side side;
	Hydra__V1__HandoverState state;
	enum phase_occasion occasion;
} records[] = {
	{SIDE_SOURCE, HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN, PHASE_NORMAL},
	{SIDE_SOURCE, HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED, PHASE_NORMAL},
	{SIDE_SOURCE, HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE, PHASE_NORMAL},
	{SIDE_SOURCE, HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED, PHASE_EXCEPTION},
	{SIDE_TARGET, HYDRA__V1__HANDOVER_STATE__HANDOVER_BEGUN, PHASE_NORMAL},
	{SIDE_TARGET, HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED, PHASE_NORMAL},
	{SIDE_TARGET, HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE, PHASE_NORMAL},
	{SIDE_TARGET, HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED, PHASE_EXCEPTION},
};

const struct migration_phase_info *migration_phase(enum migration_phase phase)
{
	return &phases[phase];
}

static void pass(const char *what, enum migration_side side, const char *name, const char *suffix)
{
	char point[64];

	if (text_fit(point, sizeof(point), "%s.%s.%s%s", what, sides[side], name, suffix))
		fault_point(point);
}

/* "committed" */
static void name_state(Hydra__V1__HandoverState state, char *name, size_t size)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(&hydra__v1__handover_state__descriptor, (int) state);

	(void) text_fit(name, size, "%s", value != NULL ? value->name + strlen(STATE_PREFIX) : "unknown");
	for (char *at = name; *at != '\0'; at++)
		*at = (char) tolower((unsigned char) *at);
}

void migration_phase_entered(enum migration_phase phase)
{
	pass("phase", phases[phase].side, phases[phase].name, "");
}

void migration_record_point(enum migration_side side, Hydra__V1__HandoverState state, bool is_after)
{
	char name[32];

	name_state(state, name, sizeof(name));
	pass("record", side, name, is_after ? ".after" : ".before");
}

void migration_phases_print(void)
{
	char name[32];

	for (size_t i = 0; i < MIGRATION_PHASES; i++)
		printf("%s phase %-12s %-9s %s\n", sides[phases[i].side], phases[i].name, occasions[phases[i].occasion],
		       phases[i].meaning);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		name_state(records[i].state, name, sizeof(name));
		printf("%s record %-12s %s\n", sides[records[i].side], name, occasions[records[i].occasion]);
	}
}
