/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host can do, and whether another host's container can run here.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/criu_find.h"
#include "checkpoint/mode.h"
#include "checkpoint/problems.h"
#include "handoff.pb-c.h"

#include <stdbool.h>

/* CRIU moves pages through pipes of this size; smaller ones make a lazy dump fail half-way. */
#define PIPE_SIZE_WANTED (1ULL << 30)

/* Everything on the heap; free with hydra__v1__handoff_facts__free_unpacked. criu NULL: unknown. */
Hydra__V1__HandoffFacts *facts_collect(const struct criu *criu);
bool facts_can_track_memory(void);

/* Raises fs.pipe-max-size when it is too small and we may. -EPERM says so. */
int facts_ensure_pipe_size(struct error *err);

/* What is against it that a container frozen at a host with theirs is restored at ours. */
void facts_compare(const Hydra__V1__HandoffFacts *theirs, const Hydra__V1__HandoffFacts *ours, struct problems *problems);
/* The same about the way its memory comes here. */
void facts_check_mode(const Hydra__V1__HandoffFacts *ours, handoff_mode mode, bool has_user_namespace, struct problems *problems);
/* The first word of wanted (separated by spaces) that is not in offered; false when all are there. */
bool facts_missing_word(const char *wanted, const char *offered, char *ret_word, size_t size);

void facts_print_json(const Hydra__V1__HandoffFacts *facts, const char *criu_path, const char *problem);
void facts_print_text(const Hydra__V1__HandoffFacts *facts, const char *criu_path, const char *problem);
