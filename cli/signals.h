/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals by name or number: "9", "KILL", "sigkill".
 */
#pragma once

#include "base/error.h"

int signal_parse(const char *text, int *ret_number, struct error *err);
