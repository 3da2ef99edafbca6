/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress of a migration: <root>/.migrations/ID, one JSON object a line, written by hydra-setup and its send
 * worker, which hold a lock on it for their lives. So anybody can tell how a migration goes, whatever happens to hydrad.
 */
#pragma once

#include "base/error.h"
#include "daemon.pb-c.h"

#include <stdbool.h>
#include <sys/types.h>

/* Of migrations that are over, so many are kept. */
#define MIGRATION_FILES_KEPT 100

/* Makes it, locked; the lock goes with the last copy of the descriptor. Removes the oldest one when there are too many. */
int migration_file_make(const char *root, const char *id, int *ret_fd, struct error *err);
/* The folder, made when missing; the caller frees. */
char *migration_folder(const char *root);

/* What the file says by now. Never fails on what is in it: a migration whose writers died has failed.
 * -ENOENT: no such migration. Free with message_free(). */
int migration_file_read(const char *root, const char *id, Hydra__V1__MigrationStatus **ret_status, pid_t *ret_pid,
			struct error *err);
/* What it said at the end of the first phase that has something newer than sequence since: who asks again with the sequence of each answer
 * hears of every phase, however late it comes. The newest when nothing is newer. */
int migration_file_read_next(const char *root, const char *id, uint64_t since, Hydra__V1__MigrationStatus **ret_status, struct error *err);

/* text without what would end a string of a line; the caller frees. */
char *progress_safe(const char *text);
/* Members of a line, found by name: our own lines only, flat. false: not there. */
bool progress_text(const char *line, const char *name, char *buffer, size_t size);
bool progress_number(const char *line, const char *name, unsigned long long *ret_value);
