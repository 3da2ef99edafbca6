/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.ioPriority and process.scheduler.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

int process_schedule(const struct spec_process *process, struct error *err);
