/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a container, as found on disk after anything.
 */
#include "state/journal.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool look(const event *entry, void *context)
{
	(void) context;
	return entry->type != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (journal_parse(data, size, look, NULL) > size)
		__builtin_trap();
	return 0;
}
