/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal names.
 */
#pragma once

/* "9", "KILL", "sigkill", "RTMIN+3". -EINVAL for anything else. */
int signal_parse(const char *text, int *ret_number);
