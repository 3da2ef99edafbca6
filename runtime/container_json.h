/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's state as JSON: the file we keep and the document the specification defines. Pure.
 */
#pragma once

#include "runtime/container.h"
#include "runtime/json.h"

extern const struct field container_state_fields[];

/* Content of state.json; the caller frees. */
char *container_state_file(const struct container_state *state);
/* The members of the specification's document; container_state_json() makes text of them. */
void container_state_add(struct json_object *to, const struct container_state *state, enum container_status status);
