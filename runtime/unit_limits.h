/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single limits as properties of a unit, and those of linux.resources.unified. Pure.
 */
#pragma once

#include "base/error.h"
#include "runtime/json_fields.h"
#include "runtime/unit_words.h"

/* Nothing for 0, no limit for what is below. */
void unit_limit_add(struct unit_words *words, const char *name, const struct json_int *limit);
/* quota_us 0: unchanged, < 0: none; period_us 0: unchanged. */
void unit_limit_add_cpu(struct unit_words *words, int64_t quota_us, uint64_t period_us);
/* "0-3,7"; NULL and "": nothing. field is for the message, below linux.resources. */
int unit_limit_add_set(struct unit_words *words, const char *name, const char *list, const char *field, struct error *err);

/* Files of which systemd has a property; others are passed over. */
int unit_limits_of_unified(const struct json_map *unified, struct unit_words *words, struct error *err);
