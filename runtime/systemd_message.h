/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of runtime/unit_words.h as D-Bus values.
 */
#pragma once

#include "base/error.h"

#include <systemd/sd-bus.h>

/* Appends an array a(sv) of all properties; words ends with NULL. */
int message_append_properties(sd_bus_message *message, const char *const *words, struct error *err);
