/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of pages made smaller on their way. Each is a whole by itself.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum compress_method { COMPRESS_NONE, COMPRESS_LZ4, COMPRESS_ZSTD, COMPRESS_METHODS };

/* "none", "lz4", "zstd"; COMPRESS_METHODS: neither. */
enum compress_method compress_method_of(const char *name);
const char *compress_name(enum compress_method method);

/* The size of what is in out then; 0: it would need more than room. Not for COMPRESS_NONE. */
size_t compress_pages(enum compress_method method, const void *data, size_t size, void *out, size_t room);
/* -EBADMSG: not exactly size bytes come out. */
int decompress_pages(enum compress_method method, const void *data, size_t size, void *out, size_t out_size, struct error *err);
