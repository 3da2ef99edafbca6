/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nobody inside a container may get hold of the program's file on the host (CVE-2019-5736).
 */
#pragma once

#include "base/error.h"

/* Goes on in a copy that cannot be written to, by executing the program again unless that has happened already.
 * Returns only when protected or failed. */
int self_protect(char **argv, struct error *err);
