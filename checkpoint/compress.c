/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/compress.h"

#include <errno.h>
#include <lz4.h>
#include <string.h>
#include <zstd.h>

#define ZSTD_LEVEL 1

static const char *const names[COMPRESS_METHODS] = {"none", "lz4", "zstd"};

enum compress_method compress_method_of(const char *name)
{
	int method = COMPRESS_NONE;

	while (method < COMPRESS_METHODS && strcmp(names[method], name) != 0)
		method++;
	return (enum compress_method) method;
}

const char *compress_name(enum compress_method method)
{
	return method < COMPRESS_METHODS ? names[method] : "?";
}

size_t compress_pages(enum compress_method method, const void *data, size_t size, void *out, size_t room)
{
	size_t done;

	if (method == COMPRESS_LZ4)
		return (size_t) LZ4_compress_default(data, out, (int) size, (int) room);
	done = ZSTD_compress(out, room, data, size, ZSTD_LEVEL);
	return ZSTD_isError(done) != 0 ? 0 : done;
}

int decompress_pages(enum compress_method method, const void *data, size_t size, void *out, size_t out_size, struct error *err)
{
	size_t done;

	if (method == COMPRESS_LZ4) {
		int r = LZ4_decompress_safe(data, out, (int) size, (int) out_size);

		done = r < 0 ? 0 : (size_t) r;
	} else {
		done = ZSTD_decompress(out, out_size, data, size);
	}
	return done == out_size ? 0 : fail_because(err, EBADMSG, "compressed pages were damaged on their way");
}
