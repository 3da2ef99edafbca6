/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli), to tell a torn record from a whole one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t size);
