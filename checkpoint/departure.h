/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers that leave this host, noted on its disk. Should the host be restarted meanwhile, their memory is gone, and targets that
 * wait for it have to hear so: hydrad has a farewell said for each that is left from before.
 */
#pragma once

#include "base/error.h"
#include "checkpoint.pb-c.h"

/* Where record will be noted, for record->departure; the caller frees. folder NULL: nowhere. */
char *departure_path(const char *folder, const Hydra__V1__HandoverRecord *record);
/* Durable when it returns 0. */
int departure_note(Hydra__V1__HandoverRecord *record, struct error *err);
/* It is over, whatever became of it. */
void departure_forget(const Hydra__V1__HandoverRecord *record);
/* Tells the target of the departure noted at path, as often as it takes, and forgets it. Does nothing when the host was not restarted
 * since, or when somebody else is at it. */
int departure_farewell(const char *path, struct error *err);
/* The same at once, and once, restarted or not: its memory has been given up. */
int departure_farewell_now(const char *path, struct error *err);
