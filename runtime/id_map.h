/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of users and groups inside and outside of a user namespace, and the texts that tell of them: /proc/PID/uid_map,
 * /etc/subuid, /etc/passwd. Pure.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <stdint.h>

/* What the kernel takes: so many ranges, in a text shorter than a page. */
#define ID_MAP_RANGES_MAX 340
#define ID_MAP_TEXT_SIZE  4096

/* The text for /proc/PID/uid_map; field is for messages. The caller frees. */
int id_map_format(const spec_id_mapping_list *map, const char *field, char **ret_text, struct error *err);
/* The outer id of an inner one. false: it has none. */
bool id_map_find(const spec_id_mapping_list *map, uint32_t inner, uint32_t *ret_outer);
/* True when text, of /proc/PID/uid_map, is that of the initial user namespace: every id is itself. */
bool id_map_is_initial(const char *text);

/* Whether text, of /proc/PID/uid_map, has all of wanted's outer ids inside: they can be given to a namespace below. */
bool id_map_includes(const char *text, const struct spec_id_mapping *wanted);

/* Whether the lines of /etc/subuid that begin with name, or with uid as a number, give all of wanted's outer ids. name may be NULL. */
bool sub_ids_include(const char *text, const char *name, uint32_t uid, const struct spec_id_mapping *wanted);
/* The name of uid in the text of /etc/passwd, or NULL. The caller frees. */
char *passwd_name(const char *text, uint32_t uid);
