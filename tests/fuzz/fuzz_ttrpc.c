/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc frames in pieces of every size, and the envelopes in them.
 */
#include "base/owned.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "proto/ttrpc_frame.h"
#include "shim.pb-c.h"
#include "ttrpc.pb-c.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const struct ttrpc_reader *reader)
{
	auto_message ProtobufCMessage *request =
		message_decode(&ttrpc__request__descriptor, reader->data, reader->header.size);
	auto_message ProtobufCMessage *response = NULL;
	struct error err;

	(void) ttrpc_parse_response(reader->data, reader->header.size, &hydra__v1__state_response__descriptor, &response, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ttrpc_reader reader = {0};
	size_t piece = size > 0 ? 1 + data[0] % 32 : 1;

	while (size > 0) {
		size_t part = piece < size ? piece : size;
		size_t taken;
		enum ttrpc_reader_result result = ttrpc_reader_push(&reader, data, part, &taken);

		if (taken > part)
			__builtin_trap();
		if (result == TTRPC_READER_FRAME)
			decode(&reader);
		if (result != TTRPC_READER_NEEDS_MORE)
			ttrpc_reader_next(&reader);
		data += taken;
		size -= taken;
		if (taken == 0 && result == TTRPC_READER_NEEDS_MORE)
			break;
	}
	ttrpc_reader_deinit(&reader);
	return 0;
}
