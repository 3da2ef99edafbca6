/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of files that are only appended to: size (le32), CRC-32C (le32), bytes. A torn last one, as a crash leaves it, is
 * seen as such.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRY_HEADER_SIZE 8

/* Writes the header of the size bytes that stand behind it. */
void entry_seal(uint8_t *entry, size_t size);
/* The bytes of the entry at the front of size bytes; false: none is whole there, or it is larger than size_max. */
bool entry_read(const uint8_t *bytes, size_t size, size_t size_max, const uint8_t **ret_data, size_t *ret_size);
