/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's word on a migration, as it is on disk: torn, foreign, or with a checksum that is made right here, so that what is behind
 * it is looked at too.
 */
#include "base/owned.h"
#include "checkpoint/verdict.h"
#include "state/crc32c.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 16 /* magic, checksum, sequence, size */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *data, size_t size)
{
	Hydra__V1__HandoverRecord *record = NULL;
	uint32_t sequence;

	if (verdict_decode(data, size, &record, &sequence) == 0 && record == NULL)
		__builtin_trap();
	hydra__v1__handover_record__free_unpacked(record, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free uint8_t *copy = malloc(size + 1);
	uint32_t length, checksum;

	decode(data, size);
	if (copy == NULL || size < HEAD)
		return 0;
	memcpy(copy, data, size);
	memcpy(&length, copy + 12, sizeof(length));
	if (length > size - HEAD)
		return 0;
	checksum = crc32c(copy + 8, 8 + length);
	memcpy(copy + 4, &checksum, sizeof(checksum));
	decode(copy, size);
	return 0;
}
