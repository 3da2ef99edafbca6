/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli), to tell a torn record from a whole one, and a page that was damaged on its way from a good one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t size);

/* The steps in between, without the inversions. Fast: with the processor's instruction where there is one. */
uint32_t crc32c_portable(uint32_t crc, const uint8_t *data, size_t size);
uint32_t crc32c_fast(uint32_t crc, const uint8_t *data, size_t size);
