/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fencing record of a migration, durable before anybody acts on it.
 */
#pragma once

#include "base/error.h"
#include "checkpoint.pb-c.h"

#define HANDOVER_FILE "handover"

/* Writes state (and what else is set in record) to folder/handover. */
int handover_write(const char *folder, Hydra__V1__HandoverRecord *record, Hydra__V1__HandoverState state,
		   struct error *err);
