/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a container (proto/container.proto: ContainerRecord) and its file.
 */
#pragma once

#include "base/error.h"
#include "container.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define RECORD_VERSION  1
#define RECORD_SIZE_MAX (1U << 20)

typedef Hydra__V1__ContainerRecord record;

/* Reads <dir>/record. -ENOENT: none yet; -EPROTO: not a record, or of a version this program does not know. */
int record_load(int dir_fd, record **ret_record, struct error *err);
/* Decodes the bytes of a record file. */
int record_decode(const uint8_t *data, size_t size, record **ret_record, struct error *err);
/* Replaces <dir>/record, atomically and durably. */
int record_save(int dir_fd, const record *self, struct error *err);

void record_free(record *self);
void record_release(void *pointer);
#define auto_record __attribute__((cleanup(record_release))) record

/* "running", "paused"... as OCI and Docker write them; "unknown" for what this program does not know. */
const char *state_name(Hydra__V1__ContainerState state);

/* Field 22 of /proc/PID/stat: with it a pid is unmistakable. 0: no such process (or a zombie). */
uint64_t process_start_time(int32_t pid);
/* The same of a zombie too. */
uint64_t process_start_time_at_all(int32_t pid);
/* The process that was started then: it runs, or its end has not been reaped. */
bool process_is_there(int32_t pid, uint64_t start_time);
/* Of a container that is being restored, and whose shim died when its tasks were about to run: who restored them has left a word in the
 * folder of its images, "resumed PID START" (checkpoint/local.h). False: there is none. */
#define RECORD_FATE_FILE "fate"
bool record_resumed_init(const record *self, int32_t *ret_pid, uint64_t *ret_start_time);
/* True when the process the record names, or the word of who restored it, still runs. */
bool record_init_is_alive(const record *self);
/* What nobody finishes any more when it has neither a setup nor a shim: a creation, a removal, or (NULL) a folder that never got a record. A record that
 * was read before it was known that there are none may be an old one: who acts on this reads it with LOCK_SETUP held. */
bool record_is_half_done(const record *self);
