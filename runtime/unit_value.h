/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Annotations `org.systemd.property.NAME` as properties of the unit. Pure.
 *
 * The value is GVariant text: 'text', true, 5 (int32), uint64 5, ['a', 'b'], [(1, 'x')], @as [].
 */
#pragma once

#include "base/error.h"
#include "runtime/json_fields.h"
#include "runtime/unit_words.h"

/* One value, as signature and words. name is for messages. */
int unit_value_parse(const char *name, const char *text, struct unit_words *words, struct error *err);
/* All annotations that are properties; a name that ends in Sec becomes USec, its value microseconds. */
int unit_values_of_annotations(const struct json_map *annotations, struct unit_words *words, struct error *err);
