/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CRIU's log says about why it failed.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>

/* Puts the reason found in the log into err (code stays), or names the log when there is none. Returns err->code. */
int criu_log_explain(struct error *err, int dir_fd, const char *dir_path, const char *log_name);
/* The first real error of a log's text, without CRIU's file and line; "" when there is none. */
void criu_log_reason(const char *log, char *ret_reason, size_t size);
