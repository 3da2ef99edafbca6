/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An encrypted checkpoint, as found on disk after anything. What does not fail is what was encrypted: a random file never is.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoint/sealed_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sealed_key key = {{1, 2, 3}};
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	struct error err;

	if (write(in, data, size) == (ssize_t) size && lseek(in, 0, SEEK_SET) == 0 && sealed_read(in, out, &key, &err) == 0)
		__builtin_trap();
	(void) close(in);
	(void) close(out);
	return 0;
}
