/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's state as JSON: the file we keep and the document the specification defines. Pure.
 */
#pragma once

#include "runtime/container.h"

extern const struct field container_state_fields[];

/* Content of state.json; the caller frees. */
char *container_state_file(const struct container_state *state);
