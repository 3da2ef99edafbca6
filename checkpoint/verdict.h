/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's word on a migration: one file for each, below the host's data folder, that outlives the machine's restart.
 *
 * Who works on the migration has it locked. What it says is final: ABORTED never changes, COMMITTED becomes ABORTED only when it is
 * certain that nothing of the copy ever ran, or DONE. The file has two places of one block each, written in turn with a checksum: a
 * change is one write into space that is there already, durable after one flush of the disk, and whole or not at all.
 */
#pragma once

#include "base/error.h"
#include "checkpoint.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define VERDICTS_KEPT 256 /* of migrations that nobody works on */

struct verdict {
	int fd;
	uint32_t sequence; /* of the place that counts */
};

#define VERDICT_NONE ((struct verdict){.fd = -1})

/* Makes folder/ID with the state of record, locked. -EEXIST: there was one. Forgets the oldest ones that nobody needs. */
int verdict_make(struct verdict *self, const char *folder, Hydra__V1__HandoverRecord *record, struct error *err);
/* Reads path. -ENOENT; -EPROTO: it is not understood. The caller frees *ret_record. is_locked tells whether somebody works on it; unless
 * somebody does, it is ours now. */
int verdict_open(struct verdict *self, const char *path, Hydra__V1__HandoverRecord **ret_record, bool *ret_is_locked, struct error *err);
/* Whether path says that it never ran here and never will; without a look at its lock. */
bool verdict_is_aborted(const char *path);
/* Durable when it returns 0. */
int verdict_write(struct verdict *self, Hydra__V1__HandoverRecord *record, Hydra__V1__HandoverState state, struct error *err);
/* Lets the lock go. Accepts VERDICT_NONE. */
void verdict_close(struct verdict *self);

/* What is in the two places. -EPROTO: nothing that is understood. */
int verdict_decode(const uint8_t *data, size_t size, Hydra__V1__HandoverRecord **ret_record, uint32_t *ret_sequence);

/* Of the kernel that runs; the caller frees. */
char *verdict_boot_id(void);
