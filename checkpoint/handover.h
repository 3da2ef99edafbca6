/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fencing record of a migration, durable before anybody acts on it.
 */
#pragma once

#include "base/error.h"
#include "checkpoint.pb-c.h"

#define HANDOVER_FILE "handover"

/* The record in folder, of the source. -ENOENT: there is none; -EPROTO: it is not understood. The caller frees it. */
int handover_read(const char *folder, Hydra__V1__HandoverRecord **ret_record, struct error *err);

/* The same from a file of that name. */
int handover_read_file(const char *path, Hydra__V1__HandoverRecord **ret_record, struct error *err);

/* Writes state (and what else is set in record) to folder/handover. */
int handover_write(const char *folder, Hydra__V1__HandoverRecord *record, Hydra__V1__HandoverState state,
		   struct error *err);
