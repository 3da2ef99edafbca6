/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's file, <root>/monitor.ledger (docs/state-format.md): changes are appended as they come; when it has become too long it is
 * written anew, atomically, with sums in their place. It outlives monitors, not the machine.
 */
#pragma once

#include "base/error.h"
#include "monitor/ledger.h"

struct ledger_file {
	char *path;
	int fd; /* FD_NONE: it can't be written */
	uint64_t size;
	uint64_t size_max; /* then it is written anew */
};

/* Reads it into ledger, which is empty, and begins it anew. Without a usable file the ledger is empty, and it is begun too. */
int ledger_file_open(struct ledger_file *ret_self, const char *root, struct ledger *ledger, struct error *err);
void ledger_file_close(struct ledger_file *self);
/* Appends what ledger already has. */
int ledger_file_append(struct ledger_file *self, const struct ledger *ledger, const Hydra__V1__LedgerFileEntry *entry,
		       struct error *err);

/* For tests: the entries in bytes, of this boot. Returns how many bytes made sense; -EPROTO: a file of another version. */
ssize_t ledger_file_parse(struct ledger *ledger, const char *boot_id, const uint8_t *bytes, size_t size, struct error *err);
