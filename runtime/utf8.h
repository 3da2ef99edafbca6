/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8, as far as JSON needs it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid sequence at text, which has available bytes (1 or more); 0 when there is none. */
size_t utf8_size(const char *text, size_t available);
/* Writes at most 4 bytes, never more than a \u escape of the same character is long. Returns how many. */
size_t utf8_encode(uint32_t code, char *ret_bytes);
