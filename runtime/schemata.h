/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What linux.intelRdt asks of the `schemata` file of a class of service, and whether a class has it already. Pure.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>

/* Refuses what is not one line each, and what names the wrong resource. */
int schemata_check(const struct spec_intel_rdt *rdt, struct error *err);
/* The lines to write, each with its end; "" when nothing is asked for. The caller frees. */
char *schemata_wanted(const struct spec_intel_rdt *rdt);
/* Whether all that wanted says holds in current, the file as the kernel shows it: indented, with leading zeros, and with the domains
 * that wanted may leave out. */
bool schemata_agree(const char *current, const char *wanted);
