/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a container; what can be decoded must survive being encoded.
 */
#include "base/owned.h"
#include "proto/message.h"
#include "state/record.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_record *decoded = NULL;
	auto_record *again = NULL;
	auto_free uint8_t *bytes = NULL;
	struct error err;
	size_t encoded_size;

	if (record_decode(data, size, &decoded, &err) < 0)
		return 0;
	if (message_encode(&decoded->base, &bytes, &encoded_size, &err) == 0 &&
	    record_decode(bytes, encoded_size, &again, &err) < 0)
		__builtin_trap();
	return 0;
}
